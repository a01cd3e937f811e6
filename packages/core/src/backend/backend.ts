import type { Clock, GuestMemory } from '../device/tokens.js';
import type { TraplineError } from '../errors.js';
import type { IoreqPage } from '../ioreq/page.js';
import type { Log } from '../log.js';
import type { AccessStream } from './stream.js';

/** The two address spaces a vCPU's access can trap in. */
export type Space = 'pio' | 'mmio';

/** What a backend can do; checked against the machine before anything is opened, never clamped. */
export interface BackendCapabilities {
  readonly architecture: 'ia32' | 'x86_64' | 'any';
  readonly maxVcpus: number;
  /** Largest guest RAM, in bytes. */
  readonly maxMemory: number;
  /** Interrupt lines (GSIs) `setIrqLine` accepts, numbered from 0. */
  readonly irqLines: number;
  readonly msi: boolean;
  /** May a request complete after its handler returned? Needed by `AsyncIoHandler`. */
  readonly deferral: boolean;
  readonly ioeventfd: boolean;
  readonly irqfd: boolean;
  readonly snapshot: boolean;
  /** Machine time is a function of what the guest executed, so runs can be recorded and replayed. */
  readonly deterministicClock: boolean;
  /** Guest-physical windows whose accesses trap: `[first, last]`, both inclusive. */
  readonly mmioWindows: readonly (readonly [first: number, last: number])[];
  /** What a guest may be: see {@link Guest}. */
  readonly guests: readonly Guest['kind'][];
  /** 16-bit MMIO reads arrive as two 8-bit ones, low byte first. */
  readonly splitsMmioReads: boolean;
}

/** A flat binary image: loaded at `address`, entered in 16-bit real mode at `address` with CS:IP = 0:address. */
export interface FlatGuest {
  readonly kind: 'flat';
  /** Guest-physical load address and entry point, in bytes; below 64 KiB. */
  readonly address: number;
  readonly image: () => Uint8Array | Promise<Uint8Array>;
}

/** A guest played by a function instead of a CPU: the accesses are real, the instructions are not. */
export interface ScriptGuest {
  readonly kind: 'script';
  readonly script: (cpu: ScriptCpu) => void | Promise<void>;
}

/** A guest that is nothing but accesses, as data: one list for each vCPU. See {@link AccessStream}. */
export interface StreamGuest {
  readonly kind: 'stream';
  /** The n-th is vCPU n's; a vCPU without one makes no access. */
  readonly streams: readonly AccessStream[];
}

/** What runs on the vCPUs; a machine may offer several kinds and the backend takes the first it can run. */
export type Guest = FlatGuest | ScriptGuest | StreamGuest;

/** A scripted vCPU: each call is one trapped access through the whole of core. */
export interface ScriptCpu {
  /** This vCPU's index, 0 to 15; also its slot in the I/O request page. */
  readonly vcpu: number;
  /** Unsigned value of `size` bytes (1, 2 or 4). Throws `TL_VM_STATE` if the handler defers: use `readAsync`. */
  read(space: Space, address: number, size: number): number;
  write(space: Space, address: number, size: number, value: number): void;
  /** Like `read`, and waits for a deferred completion. */
  readAsync(space: Space, address: number, size: number): Promise<number>;
  writeAsync(space: Space, address: number, size: number, value: number): Promise<void>;
  /** Level of an interrupt line as the interrupt controller sees it. */
  line(gsi: number): boolean;
  /** Sleeps until a line is high or an MSI arrives; at once if one is, or rose since the last time. */
  halt(): Promise<void>;
  /** Resolves after `ms` milliseconds of the host's time, and not while the machine is paused. */
  sleep(ms: number): Promise<void>;
  /** MSIs received since the last call, oldest first. */
  takeMsis(): { readonly address: number; readonly data: number }[];
  /** Guest-physical memory, as the CPU sees it. */
  readonly memory: GuestMemory;
  /** Aborted when the machine is closed; from then on every call here throws `TL_VM_CLOSED`, which ends the script. */
  readonly signal: AbortSignalLike;
}

/** The part of `AbortSignal` core uses, so that core runs where there is none. */
export interface AbortSignalLike {
  readonly aborted: boolean;
  addEventListener(type: 'abort', listener: () => void, options?: { once?: boolean }): void;
  removeEventListener(type: 'abort', listener: () => void): void;
}

/** Why a machine stopped by itself. */
export type ExitReason = 'exit' | 'power-off' | 'triple-fault' | 'halted' | 'backend-failed' | 'closed';

/** What {@link Backend.connect} is given: the way from the CPUs into the model. Never throws. */
export interface BackendHost {
  /**
   * Serves claimed slots of the source's page (bit n = slot n). Each is given back by
   * `IoreqSource.complete`, mostly before this returns, a deferred one later.
   */
  serve(claimed: number): void;
  /** One access without page traffic, for CPUs that run on this thread. @returns int32 value of a read, 0 for a write */
  access(vcpu: number, space: Space, write: boolean, address: number, size: number, value: number): number;
  /** The CPUs have stopped for good. */
  stopped(reason: ExitReason, details?: { readonly code?: number; readonly error?: TraplineError }): void;
  /** The guest asked for a reset (for example a triple fault where that means reset). */
  resetRequested(): void;
}

/** Where requests come from: one shared page and the two ends of its protocol. */
export interface IoreqSource {
  readonly page: IoreqPage;
  /** Every request is handed to the host as it is made: nobody has to look for one. */
  readonly immediate?: boolean;
  /** Set where the sources of a thread are looked at together; then `take` and `arm` of the group are used. */
  readonly group?: IoreqGroup;
  /** This source's number in what its group takes. */
  readonly number?: number;
  /** Claims pending slots (PENDING to PROCESSING) and returns them as a bitmap: slot 15 is bit 15. Does not wait. */
  take(): number;
  /** How often this slot was claimed: tells a late settlement from a current one. */
  generation(slot: number): number;
  /** Gives a slot back (PROCESSING to COMPLETE). @returns false, and does nothing, if `generation` is not current */
  complete(slot: number, generation: number): boolean;
  /**
   * Asks for one call of `wake` on this thread's event loop once a request is pending.
   * @returns false if one is already: take it instead of sleeping
   */
  arm(wake: () => void): boolean;
  /** Serves a range without entering JavaScript, as long as the route is not removed. @returns undefined if it cannot */
  route?(route: NativeRoute): RouteHandle | undefined;
}

/**
 * What a group's `take` and `wait` return, in one int32: bits 0 to 15 are claimed slots, from bit 18 on
 * is the number of the source they belong to.
 */
export const TAKEN = {
  slots: 0xffff,
  /** A doorbell of this source was rung: its routes have kicks. */
  kicks: 1 << 16,
  /** The turn is over: serve this, then let the event loop have its own. */
  turnOver: 1 << 17,
  numberShift: 18,
} as const;

/** The sources of one thread: looked at together, with one budget for spinning and one sleep. */
export interface IoreqGroup {
  /** Starts a turn: what is taken after `microseconds` is marked as the last of it. */
  beginTurn(microseconds: number): void;
  /** Claims what one source has pending, each source in its turn. Does not wait. @returns see {@link TAKEN}; 0: nothing */
  take(): number;
  /** Like `take`, and spins for the first request as long as that has been worth it. */
  wait(): number;
  /** As {@link IoreqSource.arm}, for all sources. */
  arm(wake: () => void): boolean;
}

/** A range whose meaning is so simple that a backend may serve it: see `serve` in `@Pio` and `@Mmio`. */
export interface NativeRoute {
  readonly service: 'constant' | 'latch' | 'doorbell';
  readonly space: Space;
  /** Guest-physical address or port, in bytes. */
  readonly base: number;
  /** 1, 2 or 4 bytes. */
  readonly size: number;
  /** Access sizes decoded here: a bit set of 1, 2 and 4. */
  readonly widths: number;
  /** Value of a constant, or of a latch at first; unsigned. */
  readonly value: number;
  /** A doorbell rings for this value only. */
  readonly match: number | undefined;
}

/** A route in force. */
export interface RouteHandle {
  /** Value of a latch, unsigned. */
  value: number;
  /** The oldest kick not taken yet: the value written; -1 if there is none. */
  takeKick(): number;
  /** What was served so far. */
  readonly counters: {
    readonly reads: number;
    readonly writes: number;
    readonly bytesRead: number;
    readonly bytesWritten: number;
  };
  /** From its return on, accesses come through the page; value, kicks and counters may still be read, once. */
  remove(): void;
}

/** An interrupt line that an eventfd drives. */
export interface Irqfd {
  /** Owned by the backend: valid until `close`, or until the machine is closed. */
  readonly fd: number;
  /** Idempotent. */
  close(): void;
}

/** Host MMIO regions handed to the guest: `struct acrn_mmiodev`. Addresses and sizes in bytes, 4-KiB aligned. */
export interface MmioDevice {
  /** At most 8 bytes. */
  readonly name: string;
  /** One to three regions. */
  readonly resources: readonly {
    readonly guest: number;
    readonly host: number;
    readonly size: number;
    readonly memoryType: number;
  }[];
}

/** What a machine asks of the backend it is opened on. */
export interface BackendConfig {
  readonly cpus: number;
  /** Guest RAM, in bytes; the backend lays it out around its MMIO windows. */
  readonly memory: number;
  readonly guest: Guest | undefined;
  readonly log: Log;
}

/** The one interface between the model and whatever runs CPUs. */
export interface Backend {
  readonly name: string;
  readonly capabilities: BackendCapabilities;
  readonly memory: GuestMemory;
  /** The source of requests served by the pump of this thread; absent where the backend calls its host itself. */
  readonly ioreq?: IoreqSource;
  /** The machine's clock where the backend owns time; the host's monotonic clock otherwise. */
  readonly clock?: Clock;
  /** Called once, before `run`. */
  connect(host: BackendHost): void;
  /** Level of a line, called on change only; callable anywhere, also inside a handler; delivered soon. */
  setIrqLine(gsi: number, level: boolean): void;
  /** @param address below 2^53; @param data 32 bits */
  signalMsi(address: number, data: number): void;
  /**
   * An eventfd whose every signal (8 bytes, a native-endian count above 0, written by anybody) raises one edge on a
   * line, with no call from JavaScript. Present where `capabilities.irqfd` is set. The line must not be driven by
   * `setIrqLine` as well.
   */
  irqfd?(gsi: number): Irqfd;
  assignMmioDevice(device: MmioDevice): void;
  deassignMmioDevice(device: MmioDevice): void;
  /** Starts or resumes the vCPUs. */
  run(): void;
  /** Resolves when no vCPU executes; requests in flight may still be pending. */
  pause(): Promise<void>;
  /** The machine has ended and is at rest for good: it need not keep the process alive until it is closed. */
  letExit?(): void;
  /** Puts the vCPUs back to their first instruction; only while paused. */
  reset(): Promise<void>;
  /** Idempotent; every slot is FREE or COMPLETE and every host resource released when it resolves. */
  close(): Promise<void>;
}

/** What {@link BackendProvider.probe} found. */
export interface BackendProbe {
  readonly available: boolean;
  /** Why it is not available, in one line; or what is special about it. */
  readonly reason?: string;
  readonly fix?: string;
  readonly capabilities: BackendCapabilities;
}

/** A kind of backend, before any machine runs on it. */
export interface BackendProvider {
  readonly name: string;
  /** Opens nothing that outlives the call. */
  probe(): BackendProbe | Promise<BackendProbe>;
  /** @throws TraplineError `TL_BACKEND_UNAVAILABLE` with what to do */
  open(config: BackendConfig): Promise<Backend>;
}
