// What the framework injects into a device by the type of a constructor parameter.
// Abstract classes, not interfaces: a class survives compilation and can be the token.
import { TraplineError } from '../errors.js';
import type { RegionMember } from './handler.js';

export { Log } from '../log.js';

/**
 * One end of an interrupt line. The device owns its end; the framework ORs all ends of a
 * line and tells the interrupt controller about changes only.
 */
export abstract class IrqLine {
  /** Drives this end; may be called anywhere, also inside a handler. Level, not edge. */
  abstract set(level: boolean): void;
  /** What this device drives now. */
  abstract readonly level: boolean;
  /** Raises and lowers: one edge. A line that is already high stays high and gives no edge. */
  pulse(): void {
    this.set(true);
    this.set(false);
  }
}

/** Message-signalled interrupts. */
export abstract class Msi {
  /** @param address guest-physical, below 2^53; @param data 32 bits */
  abstract send(address: number, data: number): void;
}

/** Guest-physical memory, bounds-checked in one place. Every failure is a `TL_MEMORY_BOUNDS` error. */
export abstract class GuestMemory {
  /** Bytes of RAM, all regions together. */
  abstract readonly size: number;
  /** Where RAM is: ascending and disjoint. One stretch from 0 where a subclass does not say otherwise. */
  get extents(): readonly { readonly address: number; readonly length: number }[] {
    return [{ address: 0, length: this.size }];
  }
  /** Copies out of the guest. `length` is capped by the memory's size before anything is allocated. */
  abstract read(address: number, length: number): Uint8Array;
  /** Copies into the guest, committed when it returns. */
  abstract write(address: number, bytes: Uint8Array): void;
  /**
   * A window onto guest memory inside one region, valid until the next `await`; reads as length 0
   * once the machine is closed. Call `commit` after writing through it.
   */
  abstract view(address: number, length: number): Uint8Array;
  /** Tells the backend that `[address, address + length)` was written through a view. */
  abstract commit(address: number, length: number): void;
  /** Is `[address, address + length)` RAM throughout? */
  abstract contains(address: number, length: number): boolean;
  abstract readU8(address: number): number;
  abstract readU16(address: number): number;
  abstract readU32(address: number): number;
  abstract writeU8(address: number, value: number): void;
  abstract writeU16(address: number, value: number): void;
  abstract writeU32(address: number, value: number): void;
}

/** A pending call of {@link Clock.setTimer}. */
export interface TimerHandle {
  /** Idempotent. */
  cancel(): void;
}

/** The machine's time. Devices know no other: never `Date`, never `setTimeout`. */
export abstract class Clock {
  /** Milliseconds of machine time since power-on, fractional, monotonic; stands still while the machine is paused. */
  abstract now(): number;
  /** Calls `fire` once, when `now()` has reached `deadline` (ms of machine time, not a delay). */
  abstract setTimer(deadline: number, fire: () => void): TimerHandle;
}

/** What a device may do to the machine it is in. */
export abstract class MachineControl {
  /** Ends the machine; `vm.wait()` resolves to `{ reason: 'exit', code }`. @param code 0 to 255 */
  abstract exit(code: number): void;
  /** Ends the machine as a power button held down would. */
  abstract powerOff(): void;
  /** Resets CPUs and devices once the current access has completed. */
  abstract reset(): void;
}

/** Randomness from the machine: seeded where the machine is deterministic. */
export abstract class Random {
  /** @param length at most 1 MiB */
  abstract bytes(length: number): Uint8Array;
  /** Uniform, 0 to 2^32 - 1. */
  abstract u32(): number;
}

/**
 * Where outside events enter a machine: a console byte, a packet, a finished disk read. What is
 * posted is stamped with machine time, delivered in order between two accesses and never during
 * one, and can be recorded and replayed.
 */
export abstract class Inbox {
  /**
   * Opens a named port of this device.
   * @param name unique in the device
   * @param deliver called with what was posted, between accesses
   * @returns what the host's side calls; callable at any time
   */
  abstract port<T>(name: string, deliver: (payload: T) => void): (payload: T) => void;
}

/** A region whose address the guest programs: a BAR. */
export interface DynamicRegion {
  /** Where it is decoded now, or undefined. */
  readonly base: number | undefined;
  /**
   * Decodes it at `base`; moves it if it was decoded elsewhere. An address no bus has is a guest
   * error and leaves it undecoded. Under a fixed range, or an earlier dynamic one, it yields byte by
   * byte; that is counted and warned.
   */
  map(base: number): void;
  /** Stops decoding it. Idempotent. */
  unmap(): void;
}

/** Lets a device decode ranges whose addresses the guest programs. */
export abstract class Decoder {
  /**
   * Makes a region, undecoded at first. Map it in `onRestored` from restored registers.
   * @param name for counters and traces
   * @param size bytes
   */
  abstract region(name: string, space: 'pio' | 'mmio', size: number, handler: RegionMember): DynamicRegion;
}

declare const OPTIONS: unique symbol;

/** Data that names something of the host's, with the way to open it: `stdio()`, `file(path)`, `tap(name)`. */
export interface HostResource<T> {
  readonly [HOST_RESOURCE]: true;
  /** For messages: `file(/tmp/disk.img)`. */
  readonly description: string;
  /** Opens it. Called by `start()` only, before devices are constructed. */
  open(signal: AbortSignal): T | Promise<T>;
  /** Gives back what `open` returned; called once, in reverse order of opening. */
  close(opened: T): void | Promise<void>;
}

/** Marks a {@link HostResource}; a registered symbol, so that two copies of core agree on it. */
export const HOST_RESOURCE: unique symbol = Symbol.for('trapline.host-resource');

/** The options a device sees: those of its schema, with every host resource opened. */
export type Opened<T> = { readonly [K in keyof T]: OpenedValue<T[K]> };
type OpenedValue<V> = V extends HostResource<infer R> ? R : V;

/** The validated options of one device instance, injected by the type of the parameter. */
export type Options<T> = Opened<T> & { readonly [OPTIONS]: T };
/** The token of {@link Options}: never constructed. */
export const Options: abstract new () => object = class Options {
  constructor() {
    throw new TraplineError('TL_USAGE', 'Options is a token: let the framework inject it');
  }
};

/** The option type a device class asks for in its constructor; `{}` if it asks for none. */
export type OptionsOf<C> = C extends abstract new (
  ...args: infer A
) => unknown
  ? [OptionsParameter<A[number]>] extends [never]
    ? object
    : OptionsParameter<A[number]>
  : never;
type OptionsParameter<P> = P extends { readonly [OPTIONS]: infer T } ? T : never;
