// The process around a running machine: signals, errors nobody caught, and the terminal. Libraries
// keep their hands off these; only the launcher does this.
import { messageOf } from '@trapline/core';
import { printError, say } from '../print.js';

/** Why the process wants to end, and the exit code that says so. */
export interface Ending {
  readonly why: 'signal' | 'failed' | 'left';
  readonly code: number;
}

const SIGNALS = { SIGINT: 130, SIGTERM: 143, SIGHUP: 129 } as const;
type Signal = keyof typeof SIGNALS;

/** Watches the process from construction until {@link dispose}. */
export class ProcessGuard {
  /** Resolves when the process is asked to end: by a signal, by an error nobody caught, by the user. */
  readonly ending: Promise<Ending>;
  private readonly abort = new AbortController();
  private readonly handlers = new Map<string, (...args: never[]) => void>();
  /** A guest that waits for ever, with nothing open, still runs. */
  private readonly alive = setInterval(() => {}, 2 ** 30);
  private resolve: (ending: Ending) => void = () => {};
  private asked = false;

  constructor() {
    this.ending = new Promise((resolve) => {
      this.resolve = resolve;
    });
    for (const [signal, code] of Object.entries(SIGNALS) as [Signal, number][]) {
      this.on(signal, () => this.signalled(code));
    }
    this.on('uncaughtException', (error: unknown) => this.failed(error));
    this.on('unhandledRejection', (reason: unknown) => this.failed(reason));
    this.on('exit', () => restoreTerminal());
  }

  /** Aborted when the process is asked to end. */
  get signal(): AbortSignal {
    return this.abort.signal;
  }

  /** The user asked to leave. */
  leave(): void {
    this.end({ why: 'left', code: 0 });
  }

  dispose(): void {
    clearInterval(this.alive);
    for (const [event, handler] of this.handlers) process.off(event, handler as () => void);
    restoreTerminal();
  }

  private signalled(code: number): void {
    // A second one means: at once.
    if (this.asked) {
      restoreTerminal();
      process.exit(code);
    }
    this.end({ why: 'signal', code });
  }

  private failed(thrown: unknown): void {
    if (this.asked) {
      say(`while ending: ${messageOf(thrown)}`);
      return;
    }
    restoreTerminal();
    printError(thrown);
    this.end({ why: 'failed', code: 1 });
  }

  private end(ending: Ending): void {
    if (this.asked) return;
    this.asked = true;
    this.abort.abort();
    this.resolve(ending);
  }

  private on(event: string, handler: (...args: never[]) => void): void {
    this.handlers.set(event, handler);
    process.on(event, handler as () => void);
  }
}

/** Puts the terminal back into the mode a shell expects, if it is in another: a job in the background must not touch it. */
export function restoreTerminal(): void {
  const { stdin } = process;
  if (!stdin.isTTY || !stdin.isRaw || stdin.destroyed) return;
  try {
    stdin.setRawMode(false);
  } catch {
    // The terminal is gone: nothing is left to restore.
  }
}
