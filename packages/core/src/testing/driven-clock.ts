import { TraplineError } from '../errors.js';
import { VirtualClock } from '../machine/clock.js';

/** Timers that may fire at one instant before a device is taken to arm itself for ever. */
const STORM = 1000;

/** Machine time in a test's hands: it moves only when told. */
export class DrivenClock extends VirtualClock {
  /** @param settled called after time has moved; what it throws goes to the test */
  constructor(private readonly settled: () => void = () => {}) {
    super();
  }

  /** Deadline of the next timer, or undefined if none is set. */
  get next(): number | undefined {
    return this.timers.next();
  }

  /**
   * Moves machine time on by `ms`, firing each timer at its own deadline; stops early after `most`
   * different deadlines.
   * @throws TraplineError `TL_TIMER` if timers are armed for the same instant without end
   */
  override advance(ms: number, most: number = Number.POSITIVE_INFINITY): void {
    const until = this.time + ms;
    let instants = 0;
    let here = 0;
    for (let next = this.next; next !== undefined && next <= until; next = this.next) {
      if (next > this.time) {
        here = 0;
        if (instants++ >= most) {
          this.settled();
          return;
        }
      } else if (here++ > STORM) {
        throw new TraplineError('TL_TIMER', `more than ${STORM} timers fire at ${this.time} ms`, {
          fix: 'let a timer arm itself for a later time than now',
        });
      }
      this.time = Math.max(this.time, next);
      this.timers.takeDue(this.time)?.fire();
    }
    this.time = until;
    this.settled();
  }
}
