import type { TraplineError } from './errors.js';

/** How loud a log line is. `guest` and `unimplemented` are warnings about the guest, not about the host. */
export type LogLevel = 'debug' | 'info' | 'warn' | 'error';

/** One line for the host's user. */
export interface LogRecord {
  readonly level: LogLevel;
  /** The device id, or `core`, or the backend's name. */
  readonly who: string;
  readonly message: string;
  /** Set where the guest did what the specification forbids, or used what a model lacks. */
  readonly about?: 'guest-error' | 'unimplemented';
  /** The error this line tells of, for sinks that show its code, fix or cause. */
  readonly error?: TraplineError;
}

/** Where log lines go; core itself writes to no console. */
export type LogSink = (record: LogRecord) => void;

/**
 * What a device says to the host's user. Injected by type.
 *
 * `guestError` is for what a driver does against the specification, `unimplemented`
 * for what the model lacks: both are caused by the guest, so both are rate-limited.
 */
export abstract class Log {
  abstract debug(message: string): void;
  abstract info(message: string): void;
  abstract warn(message: string): void;
  abstract error(message: string): void;
  /** The guest broke the device's specification. At most 10 a second per device are passed on. */
  abstract guestError(message: string): void;
  /** The guest used something this model lacks. At most 10 a second per device are passed on. */
  abstract unimplemented(message: string): void;
}

/** Lets `burst` events through per `windowMs`, and counts the rest. */
export class RateLimit {
  private windowStart = Number.NEGATIVE_INFINITY;
  private inWindow = 0;
  /** Events held back since the limit was made. */
  suppressed = 0;

  constructor(
    private readonly burst: number,
    private readonly windowMs: number,
    private readonly now: () => number,
  ) {}

  allow(): boolean {
    const now = this.now();
    if (now - this.windowStart >= this.windowMs) {
      this.windowStart = now;
      this.inWindow = 0;
    }
    if (this.inWindow < this.burst) {
      this.inWindow++;
      return true;
    }
    this.suppressed++;
    return false;
  }
}

/** Called for each guest mistake that was let through the rate limit. */
export type GuestReport = (about: 'guest-error' | 'unimplemented', message: string) => void;

/** The {@link Log} of one device: forwards to a sink and rate-limits what the guest can cause. */
export class SinkLog extends Log {
  private readonly limit: RateLimit;

  constructor(
    private readonly who: string,
    private readonly sink: LogSink,
    now: () => number,
    private readonly report?: GuestReport,
  ) {
    super();
    this.limit = new RateLimit(10, 1000, now);
  }

  debug(message: string): void {
    this.sink({ level: 'debug', who: this.who, message });
  }
  info(message: string): void {
    this.sink({ level: 'info', who: this.who, message });
  }
  warn(message: string): void {
    this.sink({ level: 'warn', who: this.who, message });
  }
  error(message: string): void {
    this.sink({ level: 'error', who: this.who, message });
  }
  guestError(message: string): void {
    this.aboutGuest('guest-error', message);
  }
  unimplemented(message: string): void {
    this.aboutGuest('unimplemented', message);
  }

  /** Guest-caused lines held back by the rate limit so far. */
  get suppressed(): number {
    return this.limit.suppressed;
  }

  private aboutGuest(about: 'guest-error' | 'unimplemented', message: string): void {
    if (!this.limit.allow()) return;
    this.sink({ level: 'warn', who: this.who, message, about });
    this.report?.(about, message);
  }
}
