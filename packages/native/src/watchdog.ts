// Names device code that does not return, and ends what waits for it: a thread of the addon's own looks at what this
// thread says it is doing, because this one can say nothing more.
import { ERROR_CODES, type HandlerWatch, messageOf, TraplineError } from '@trapline/core';
import { loadNative, type NativeWatchdog } from './addon.js';

/** How {@link watchdog} watches. */
export interface WatchdogOptions {
  /** Device code that has run this long is named, in ms; 0 is never. Default 1000. */
  readonly warnAfterMs?: number;
  /**
   * Device code may run this long, in ms; 0, the default, is for ever. Then the vCPUs of this thread's machines are
   * paused, and the machine ends with `TL_HANDLER_TIMEOUT` as soon as the code returns.
   */
  readonly timeoutMs?: number;
  /** Descriptor that warnings and errors are written to, at once. By default they are not. */
  readonly fd?: number;
  /**
   * For whoever owns the process: at the timeout all its machines are paused, the terminal is put back, and the
   * process ends with this code, whether or not the device code ever returns.
   */
  readonly exitCode?: number;
}

/** Watches one machine, as its service `watch`. */
export interface Watchdog extends HandlerWatch {
  /** Ends the watch, also of a machine that runs. Idempotent. */
  close(): void;
}

/** 24 days: what a timer takes. */
const LONGEST = 2 ** 31 - 1;

/**
 * Watches the device code of one machine of this thread, for `start(machine, { watch })`.
 * @returns undefined where the native addon is not there: nobody watches then
 * @throws TraplineError `TL_USAGE` for a time that is none, `TL_HOST_RESOURCE` if there is no thread to be had
 */
export function watchdog(options: WatchdogOptions = {}): Watchdog | undefined {
  const warnAfterMs = milliseconds('warnAfterMs', options.warnAfterMs ?? 1000);
  const timeoutMs = milliseconds('timeoutMs', options.timeoutMs ?? 0);
  const { addon } = loadNative();
  if (!addon) return undefined;
  const fix = ERROR_CODES.TL_HANDLER_TIMEOUT[1];
  let watching: NativeWatch | undefined;
  try {
    const native = addon.openWatchdog(
      { warnAfterMs, timeoutMs, fd: options.fd ?? -1, exitCode: options.exitCode, fix },
      () => watching?.onExpired(),
    );
    watching = new NativeWatch(native, timeoutMs);
    return watching;
  } catch (thrown) {
    throw new TraplineError('TL_HOST_RESOURCE', `cannot watch: ${messageOf(thrown)}`, {
      who: 'watchdog',
      cause: thrown,
    });
  }
}

function milliseconds(name: string, ms: number): number {
  if (ms >= 0 && ms <= LONGEST) return Math.ceil(ms);
  throw new TraplineError('TL_USAGE', `${name} is ${ms}, not between 0 and ${LONGEST}`, { who: 'watchdog' });
}

class NativeWatch implements Watchdog {
  readonly words: Int32Array;
  private expired: (error: TraplineError) => void = () => {};

  constructor(
    private readonly native: NativeWatchdog,
    private readonly timeoutMs: number,
  ) {
    this.words = new Int32Array(native.words);
  }

  name(entry: number, text: string): void {
    this.native.name(entry, text);
  }

  connect(expired: (error: TraplineError) => void): void {
    this.expired = expired;
  }

  onExpired(): void {
    const overdue = this.native.takeExpired();
    if (!overdue) return;
    const what = `${overdue.what} did not return within ${this.timeoutMs / 1000} s`;
    this.expired(new TraplineError('TL_HANDLER_TIMEOUT', what, { who: overdue.who }));
  }

  close(): void {
    this.native.close();
  }
}
