// The kinds of state a device can have. Each knows how to check what a snapshot brings.
import { TraplineError, textOf } from '../errors.js';
import type { PartSlot } from './part.js';
import type { TimerHandle } from './tokens.js';

/** One cell of one device instance. */
export interface Cell<V> {
  get(): V;
  /** Absent for cells that are used in place. */
  set?(value: V): void;
  reset(): void;
  save(): unknown;
  /** @throws TraplineError `TL_STATE_INVALID`; otherwise a function that applies the value */
  check(saved: unknown, where: string): () => void;
}

/** A declared cell; `Assignable` tells whether the device assigns to it. */
export interface CellSpec<V, Assignable extends boolean> {
  readonly [CELL]: true;
  /** Type only. */
  readonly assignable?: Assignable;
  make(slot: PartSlot, name: string): Cell<V>;
}
const CELL: unique symbol = Symbol.for('trapline.cell');

/** Is this a cell declaration? */
export function isCellSpec(value: unknown): value is CellSpec<unknown, boolean> {
  return typeof value === 'object' && value !== null && CELL in value;
}

function invalid(where: string, saved: unknown): never {
  throw new TraplineError('TL_STATE_INVALID', `cannot hold ${describe(saved)}`, { who: where });
}

function describe(value: unknown): string {
  const text = typeof value === 'string' ? `'${value}'` : textOf(value);
  return text.length > 40 ? `${text.slice(0, 40)}...` : text;
}

function scalar<V>(initial: V, valid: (value: unknown) => value is V, convert?: (value: V) => V): CellSpec<V, true> {
  if (!valid(initial)) throw new TraplineError('TL_STATE_VALUE', `a cell cannot begin as ${describe(initial)}`);
  return {
    [CELL]: true,
    make(_slot, name) {
      let current = initial;
      return {
        get: () => current,
        set(value) {
          const next = convert ? convert(value) : value;
          if (!valid(next)) {
            throw new TraplineError('TL_STATE_VALUE', `state ${name} cannot hold ${describe(value)}`);
          }
          current = next;
        },
        reset() {
          current = initial;
        },
        save: () => current,
        check(saved, where) {
          if (!valid(saved)) return invalid(where, saved);
          return () => {
            current = saved;
          };
        },
      };
    },
  };
}

function unsigned(most: number, initial: number, wrap: boolean): CellSpec<number, true> {
  return scalar<number>(
    initial,
    (value): value is number => typeof value === 'number' && Number.isInteger(value) && value >= 0 && value <= most,
    wrap ? (value) => (Number.isInteger(value) ? (value & most) >>> 0 : value) : undefined,
  );
}

/** 8 bits; a value assigned wraps, as in hardware. */
export const u8 = (initial = 0): CellSpec<number, true> => unsigned(0xff, initial, true);
/** 16 bits; a value assigned wraps. */
export const u16 = (initial = 0): CellSpec<number, true> => unsigned(0xffff, initial, true);
/** 32 bits, unsigned; a value assigned wraps. */
export const u32 = (initial = 0): CellSpec<number, true> => unsigned(0xffff_ffff, initial, true);
/** An exact integer from 0 to 2^53 - 1; anything else assigned is an error. */
export const u53 = (initial = 0): CellSpec<number, true> => unsigned(Number.MAX_SAFE_INTEGER, initial, false);
/** A finite number: machine time, for example. */
export const f64 = (initial = 0): CellSpec<number, true> =>
  scalar<number>(initial, (value): value is number => typeof value === 'number' && Number.isFinite(value));
/** true or false. */
export const bool = (initial = false): CellSpec<boolean, true> =>
  scalar<boolean>(initial, (value): value is boolean => typeof value === 'boolean');
/** One of a few names; the first is the initial one. */
export const oneOf = <const T extends readonly [string, ...string[]]>(...names: T): CellSpec<T[number], true> =>
  scalar<T[number]>(names[0], (value): value is T[number] => names.includes(value as string));

/** A fixed number of bytes, written in place. Saved as base 16. */
export function bytes(length: number): CellSpec<Uint8Array, false> {
  return {
    [CELL]: true,
    make() {
      const data = new Uint8Array(length);
      return {
        get: () => data,
        reset() {
          data.fill(0);
        },
        save: () => toHex(data),
        check(saved, where) {
          const restored = fromHex(saved);
          if (restored?.length !== length) return invalid(where, saved);
          return () => data.set(restored);
        },
      };
    },
  };
}

/** A bounded first-in first-out queue of bytes, as in a UART. */
export class Fifo {
  private readonly data: Uint8Array;
  private head = 0;
  private count = 0;

  constructor(readonly capacity: number) {
    this.data = new Uint8Array(capacity);
  }
  get length(): number {
    return this.count;
  }
  get full(): boolean {
    return this.count === this.capacity;
  }
  /** @returns false, and drops the byte, if the queue is full */
  push(byte: number): boolean {
    if (this.full) return false;
    this.data[(this.head + this.count++) % this.capacity] = byte;
    return true;
  }
  /** Oldest byte, or undefined. */
  shift(): number | undefined {
    if (this.count === 0) return undefined;
    const byte = this.data[this.head] as number;
    this.head = (this.head + 1) % this.capacity;
    this.count--;
    return byte;
  }
  /** Oldest byte, left where it is. */
  peek(): number | undefined {
    return this.count === 0 ? undefined : this.data[this.head];
  }
  /** Byte `index` places behind the oldest. */
  at(index: number): number | undefined {
    return index < this.count ? this.data[(this.head + index) % this.capacity] : undefined;
  }
  clear(): void {
    this.head = 0;
    this.count = 0;
  }
  /** A copy, oldest first. */
  toArray(): Uint8Array {
    return Uint8Array.from({ length: this.count }, (_, i) => this.at(i) as number);
  }
}

/** A {@link Fifo} of at most `capacity` bytes. */
export function fifo(capacity: number): CellSpec<Fifo, false> {
  return {
    [CELL]: true,
    make() {
      const queue = new Fifo(capacity);
      return {
        get: () => queue,
        reset: () => queue.clear(),
        save: () => toHex(queue.toArray()),
        check(saved, where) {
          const restored = fromHex(saved);
          if (!restored || restored.length > capacity) return invalid(where, saved);
          return () => {
            queue.clear();
            for (const byte of restored) queue.push(byte);
          };
        },
      };
    },
  };
}

/** A timer of a device, in machine time; it is saved as its deadline. */
export interface Timer {
  /** Machine time (ms) at which it fires, or undefined. */
  readonly deadline: number | undefined;
  readonly armed: boolean;
  /** Fires once when machine time reaches `deadline` (ms); replaces an earlier deadline. */
  at(deadline: number): void;
  /** Fires once after `delay` ms of machine time. */
  after(delay: number): void;
  /** Idempotent. */
  cancel(): void;
}

/** A {@link Timer} that calls `fire`; it may arm itself again there. */
export function timer(fire: () => void): CellSpec<Timer, false> {
  return {
    [CELL]: true,
    make: (slot, name) => new TimerCell(slot, name, fire),
  };
}

class TimerCell implements Timer, Cell<Timer> {
  deadline: number | undefined;
  private handle: TimerHandle | undefined;

  constructor(
    private readonly slot: PartSlot,
    private readonly name: string,
    private readonly fire: () => void,
  ) {}

  get armed(): boolean {
    return this.deadline !== undefined;
  }
  get(): Timer {
    return this;
  }
  at(deadline: number): void {
    if (!Number.isFinite(deadline)) {
      throw new TraplineError('TL_STATE_VALUE', `timer ${this.name} cannot fire at ${String(deadline)}`);
    }
    this.cancel();
    const clock = this.slot.clock;
    if (!clock) throw new TraplineError('TL_TIMER', `timer ${this.name} has no machine whose time it could follow`);
    this.deadline = deadline;
    this.handle = clock.setTimer(deadline, () => {
      this.deadline = undefined;
      this.handle = undefined;
      this.slot.guard(`timer ${this.name}`, this.fire);
    });
  }
  after(delay: number): void {
    const clock = this.slot.clock;
    if (!clock) throw new TraplineError('TL_TIMER', `timer ${this.name} has no machine whose time it could follow`);
    this.at(clock.now() + delay);
  }
  cancel(): void {
    this.handle?.cancel();
    this.handle = undefined;
    this.deadline = undefined;
  }
  reset(): void {
    this.cancel();
  }
  save(): unknown {
    return this.deadline ?? null;
  }
  check(saved: unknown, where: string): () => void {
    if (saved !== null && !(typeof saved === 'number' && Number.isFinite(saved))) return invalid(where, saved);
    return () => (saved === null ? this.cancel() : this.at(saved));
  }
}

function toHex(data: Uint8Array): string {
  return Array.from(data, (byte) => byte.toString(16).padStart(2, '0')).join('');
}

function fromHex(text: unknown): Uint8Array | undefined {
  if (typeof text !== 'string' || text.length % 2 !== 0 || !/^[0-9a-f]*$/.test(text)) return undefined;
  return Uint8Array.from({ length: text.length / 2 }, (_, i) => Number.parseInt(text.slice(2 * i, 2 * i + 2), 16));
}
