// A watch that can be asked at any time what runs.
import type { TraplineError } from '../src/errors.js';
import { type HandlerWatch, WATCH, WATCH_KIND } from '../src/ioreq/handler-watch.js';

export class FakeWatch implements HandlerWatch {
  readonly words = new Int32Array(WATCH.frames * WATCH.frameWords);
  readonly names = new Map<number, string>();
  expired: (error: TraplineError) => void = () => {};

  name(entry: number, text: string): void {
    this.names.set(entry, text);
  }
  connect(expired: (error: TraplineError) => void): void {
    this.expired = expired;
  }

  /** What runs, the outermost first: `com1 read 1 pio 3f8 cpu0`, `com1 a timer`. */
  running(): string[] {
    return this.frames().flatMap((frame) => ((frame.sequence & 1) === 0 ? [] : [this.describe(frame)]));
  }
  sequences(): number[] {
    return this.frames().map(({ sequence }) => sequence);
  }

  private frames() {
    const { words } = this;
    return Array.from({ length: WATCH.frames }, (_, i) => {
      const word = (index: number) => words[i * WATCH.frameWords + index] as number;
      return {
        sequence: word(WATCH.sequence),
        entry: word(WATCH.entry),
        low: word(WATCH.addressLow),
        high: word(WATCH.addressHigh),
        kind: word(WATCH.kind),
      };
    });
  }
  private describe({ entry, low, high, kind }: ReturnType<FakeWatch['frames']>[number]): string {
    const who = this.names.get(entry);
    if (kind & WATCH_KIND.work) return `${who} ${this.names.get(low)}`;
    const address = (BigInt(high >>> 0) << 32n) | BigInt(low >>> 0);
    const what = [kind & WATCH_KIND.write ? 'write' : 'read', kind & WATCH_KIND.size];
    const where = [kind & WATCH_KIND.mmio ? 'mmio' : 'pio', address.toString(16)];
    return [who, ...what, ...where, `cpu${kind >>> WATCH_KIND.vcpuShift}`].join(' ');
  }
}
