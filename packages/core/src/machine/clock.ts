import { Clock, type TimerHandle } from '../device/tokens.js';
import { TraplineError } from '../errors.js';

interface PendingTimer extends TimerHandle {
  readonly deadline: number;
  readonly order: number;
  readonly fire: () => void;
  cancelled: boolean;
}

/** Cancelled timers that may lie about before they are swept out. */
const MOST_CANCELLED = 64;

/** Timers by deadline; equal deadlines in the order they were set. A binary heap. */
class TimerQueue {
  private readonly heap: PendingTimer[] = [];
  private order = 0;
  private cancelled = 0;

  get length(): number {
    return this.heap.length;
  }

  add(deadline: number, fire: () => void): PendingTimer {
    const timer: PendingTimer = {
      deadline,
      fire,
      order: this.order++,
      cancelled: false,
      cancel: () => this.cancel(timer),
    };
    this.heap.push(timer);
    this.rise(this.heap.length - 1);
    return timer;
  }

  /** Deadline of the next live timer. */
  next(): number | undefined {
    while (this.heap[0]?.cancelled) {
      this.cancelled--;
      this.pop();
    }
    return this.heap[0]?.deadline;
  }

  /** Takes the next timer that is due. */
  takeDue(now: number): PendingTimer | undefined {
    const next = this.next();
    if (next === undefined || next > now) return undefined;
    const timer = this.pop() as PendingTimer;
    // It is out of the queue: cancelling it means nothing any more.
    timer.cancelled = true;
    return timer;
  }

  clear(): void {
    for (const timer of this.heap) timer.cancelled = true;
    this.heap.length = 0;
    this.cancelled = 0;
  }

  /** A guest that kicks a watchdog for ever must not grow the host's memory: the cancelled are swept out. */
  private cancel(timer: PendingTimer): void {
    if (timer.cancelled) return;
    timer.cancelled = true;
    this.cancelled++;
    if (this.cancelled <= MOST_CANCELLED || this.cancelled * 2 < this.heap.length) return;
    const live = this.heap.filter((other) => !other.cancelled);
    this.heap.length = 0;
    this.cancelled = 0;
    for (const other of live) this.rise(this.heap.push(other) - 1);
  }

  private pop(): PendingTimer | undefined {
    const top = this.heap[0];
    const last = this.heap.pop();
    if (last && top !== last) {
      this.heap[0] = last;
      this.sink(0);
    }
    return top;
  }

  private before(a: number, b: number): boolean {
    const x = this.heap[a] as PendingTimer;
    const y = this.heap[b] as PendingTimer;
    return x.deadline < y.deadline || (x.deadline === y.deadline && x.order < y.order);
  }

  private swap(a: number, b: number): void {
    [this.heap[a], this.heap[b]] = [this.heap[b] as PendingTimer, this.heap[a] as PendingTimer];
  }

  private rise(start: number): void {
    for (let i = start; i > 0; ) {
      const parent = (i - 1) >> 1;
      if (!this.before(i, parent)) return;
      this.swap(i, parent);
      i = parent;
    }
  }

  private sink(start: number): void {
    for (let i = start; ; ) {
      const left = 2 * i + 1;
      if (left >= this.heap.length) return;
      const child = left + 1 < this.heap.length && this.before(left + 1, left) ? left + 1 : left;
      if (!this.before(child, i)) return;
      this.swap(i, child);
      i = child;
    }
  }
}

/** A clock the machine controls: it can be stopped for a pause and set by a restore. */
export abstract class MachineClock extends Clock {
  protected readonly timers = new TimerQueue();

  setTimer(deadline: number, fire: () => void): TimerHandle {
    // One that compares with nothing would bury every other timer.
    if (!Number.isFinite(deadline)) {
      throw new TraplineError('TL_STATE_VALUE', `a timer cannot fire at ${String(deadline)}`);
    }
    const timer = this.timers.add(deadline, fire);
    this.rearm();
    return timer;
  }

  /** Lets machine time run. */
  abstract start(): void;
  /** Lets machine time stand still. */
  abstract stop(): void;
  /** Sets machine time, for a restored machine; pending timers are dropped. */
  abstract set(now: number): void;

  protected abstract rearm(): void;

  /** Fires what is due, in order, at most `most` timers. */
  protected fireDue(until: number, most = Number.POSITIVE_INFINITY): void {
    for (let left = most; left > 0; left--) {
      const timer = this.timers.takeDue(until);
      if (!timer) return;
      timer.fire();
    }
  }
}

/** A clock that moves only when told: for tests and scripted machines. */
export class VirtualClock extends MachineClock {
  protected time = 0;

  now(): number {
    return this.time;
  }
  start(): void {}
  stop(): void {}
  set(now: number): void {
    this.timers.clear();
    this.time = now;
  }

  /** Moves machine time on by `ms`, firing each timer at its own deadline. */
  advance(ms: number): void {
    const until = this.time + ms;
    for (let next = this.timers.next(); next !== undefined && next <= until; next = this.timers.next()) {
      this.time = Math.max(this.time, next);
      this.fireDue(this.time);
    }
    this.time = until;
  }

  /** Moves to the next timer and fires it. @returns false if none is set */
  advanceToNext(): boolean {
    const next = this.timers.next();
    if (next === undefined) return false;
    this.advance(Math.max(0, next - this.time));
    return true;
  }

  protected rearm(): void {}
}

/** Host services a clock needs; `setTimeout` may be missing where core runs without an event loop. */
export interface HostTime {
  /** Milliseconds, monotonic. */
  now(): number;
  setTimeout(run: () => void, ms: number): unknown;
  clearTimeout(handle: unknown): void;
}

/** The longest delay `setTimeout` takes; a timer further away is armed again on the way. */
const LONGEST = 2 ** 31 - 1;

/** Machine time that follows the host's monotonic clock while the machine runs. */
export class HostClock extends MachineClock {
  private base = 0;
  private startedAt: number | undefined;
  private armed: unknown;

  constructor(private readonly host: HostTime = hostTime) {
    super();
  }

  now(): number {
    return this.startedAt === undefined ? this.base : this.base + this.host.now() - this.startedAt;
  }
  start(): void {
    this.startedAt ??= this.host.now();
    this.rearm();
  }
  stop(): void {
    this.base = this.now();
    this.startedAt = undefined;
    this.disarm();
  }
  set(now: number): void {
    this.timers.clear();
    this.base = now;
    if (this.startedAt !== undefined) this.startedAt = this.host.now();
    this.disarm();
  }

  protected rearm(): void {
    this.disarm();
    const next = this.timers.next();
    if (this.startedAt === undefined || next === undefined) return;
    // Rounded up: a timer fires at its deadline or after, never before.
    const delay = Math.min(LONGEST, Math.max(0, Math.ceil(next - this.now())));
    this.armed = this.host.setTimeout(() => {
      this.armed = undefined;
      try {
        // No more than there are now: timers that arm themselves for the past must not keep the event loop.
        this.fireDue(this.now(), this.timers.length);
      } finally {
        this.rearm();
      }
    }, delay);
  }

  private disarm(): void {
    if (this.armed !== undefined) this.host.clearTimeout(this.armed);
    this.armed = undefined;
  }
}

interface HostGlobals {
  readonly performance?: { now(): number };
  readonly setTimeout?: (run: () => void, ms: number) => unknown;
  readonly clearTimeout?: (handle: unknown) => void;
}

/** The host's clock, looked up at each call so that core can be loaded where there is none. */
export const hostTime: HostTime = {
  now: () => (globalThis as HostGlobals).performance?.now() ?? Date.now(),
  setTimeout: (run, ms) => (globalThis as HostGlobals).setTimeout?.(run, ms),
  clearTimeout: (handle) => (globalThis as HostGlobals).clearTimeout?.(handle),
};
