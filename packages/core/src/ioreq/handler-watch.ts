// Where device code is right now, in shared memory: JavaScript cannot interrupt a handler that does not
// return, so somebody outside of this thread must be able to say which one it is.
import type { TraplineError } from '../errors.js';

/**
 * Words of a frame, one frame for each device call that runs inside another, the outermost first. A frame's
 * `sequence` is odd while its code runs and changes with every call; the other words are valid while it is odd.
 * They are written before it turns odd, so that whoever finds the same odd sequence before and after
 * reading them has read one call.
 */
export const WATCH = {
  frameWords: 8,
  frames: 8,
  sequence: 0,
  /** Number of a name: of the device's range, or of the device. */
  entry: 1,
  /** Of the access, in two halves; for other work {@link WATCH_KIND.work} `addressLow` is the number of its name. */
  addressLow: 2,
  addressHigh: 3,
  /** Size in bytes | {@link WATCH_KIND} | vCPU << 16. */
  kind: 4,
} as const;

/** Bits of {@link WATCH.kind}. */
export const WATCH_KIND = { size: 0xff, write: 0x100, mmio: 0x200, work: 0x400, vcpuShift: 16 } as const;

/** Somebody who watches the device code of one machine from another thread. */
export interface HandlerWatch {
  /** `WATCH.frames` frames of `WATCH.frameWords` words; of length 0 once nobody watches any more. */
  readonly words: Int32Array;
  /** What a number in a frame stands for from now on. */
  name(entry: number, text: string): void;
  /** `expired` is called on this thread, after the fact, when device code ran longer than it may. */
  connect(expired: (error: TraplineError) => void): void;
}

/** The machine's side of a watch: says what runs. Writes words and nothing else; nobody need be watching. */
export class HandlerMarks {
  readonly words: Int32Array;
  /** How many calls run inside of the outermost. */
  private nested = 0;
  private readonly numbers = new Map<string, number>();

  constructor(private readonly watch?: HandlerWatch) {
    // A private page rather than a condition: the same stores either way.
    this.words = watch?.words ?? new Int32Array(WATCH.frames * WATCH.frameWords);
  }

  /**
   * Device code begins.
   * @param entry a number that was named
   * @param kind of {@link accessKind}
   * @returns its frame, for {@link leave}
   */
  enter(entry: number, low: number, high: number, kind: number): number {
    const { words } = this;
    const sequence = words[WATCH.sequence] as number;
    // Some handler runs already: rare, and kept away from the common case, which the dispatcher does by hand.
    if ((sequence & 1) !== 0) return this.enterNested(entry, low, high, kind);
    words[WATCH.entry] = entry;
    words[WATCH.addressLow] = low;
    words[WATCH.addressHigh] = high;
    words[WATCH.kind] = kind;
    // Last: it makes the others valid.
    words[WATCH.sequence] = sequence + 1;
    return 0;
  }

  /** Device code has ended. May be called twice. */
  leave(frame: number): void {
    if (frame === 0) this.words[WATCH.sequence] = ((this.words[WATCH.sequence] as number) + 1) & ~1;
    else this.leaveNested(frame);
  }

  private enterNested(entry: number, low: number, high: number, kind: number): number {
    const frame = ++this.nested * WATCH.frameWords;
    // Calls nested deeper than there are frames count as their caller's time.
    if (this.nested < WATCH.frames) {
      this.words.set([entry, low, high, kind], frame + WATCH.entry);
      (this.words[frame] as number)++;
    }
    return frame;
  }

  private leaveNested(frame: number): void {
    this.nested = frame / WATCH.frameWords - 1;
    if (frame < this.words.length) this.words[frame] = ((this.words[frame] as number) + 1) & ~1;
  }

  /** Runs code of a device that is no access: a timer, say. */
  run<T>(device: string, what: string, work: () => T): T {
    const frame = this.enter(this.numberOf(device), this.numberOf(what), 0, WATCH_KIND.work);
    try {
      return work();
    } finally {
      this.leave(frame);
    }
  }

  /** A number for a text; never one of a range. */
  numberOf(text: string): number {
    let number = this.numbers.get(text);
    if (number === undefined) {
      // Ranges count upwards from 1.
      number = -1 - this.numbers.size;
      this.numbers.set(text, number);
      this.watch?.name(number, text);
    }
    return number;
  }

  /** A range has been given this entry. */
  name(entry: number, owner: string): void {
    this.watch?.name(entry, owner);
  }
}

/** {@link WATCH.kind} of an access. */
export function accessKind(vcpu: number, mmio: boolean, write: boolean, size: number): number {
  return size | (write ? WATCH_KIND.write : 0) | (mmio ? WATCH_KIND.mmio : 0) | (vcpu << WATCH_KIND.vcpuShift);
}
