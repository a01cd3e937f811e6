import { Buffer } from 'node:buffer';
import { Duplex } from 'node:stream';
import { type HostResource, hostResource, TraplineError } from '@trapline/core';
import { EscapeFilter } from './escape.js';
import { FdWriter } from './fd-writer.js';

/** What {@link stdio} needs of standard input; `process.stdin` is one. */
export interface ConsoleInput extends NodeJS.ReadableStream {
  readonly isTTY?: boolean;
  readonly isRaw?: boolean;
  setRawMode?(raw: boolean): unknown;
}

/** Options of {@link stdio}. */
export interface StdioOptions {
  /** Called when the user types `Ctrl-A x`. The stream emits `leave`, too. */
  readonly onLeave?: () => void;
  /** What is typed instead of standard input, followed by one EOT (Ctrl-D). */
  readonly input?: string;
  /** Default: `process.stdin`. */
  readonly stdin?: ConsoleInput;
  /** A file descriptor. Default 1, standard output. */
  readonly stdout?: number;
}

const EOT = Buffer.of(0x04);
/** Output waiting for the terminal, bytes: beyond it the guest waits. */
const OUTPUT_LIMIT = 64 * 1024;
/** Typed ahead of a guest that does not read, bytes: beyond it keys are dropped, but `Ctrl-A x` is not. */
const TYPED_LIMIT = 64 * 1024;
const FLUSH_MS = 2_000;

/** Standard inputs that are some device's console now. */
const taken = new WeakSet<ConsoleInput>();

let defaults: StdioOptions = {};

/**
 * What every {@link stdio} opened from now on takes where it says nothing itself: for whoever owns the
 * process, such as the command with its `--input`. `onLeave` is called beside the console's own.
 */
export function configureStdio(options: StdioOptions): void {
  defaults = options;
}

/**
 * This process's terminal as console. A terminal is put into raw mode, so that every key reaches the
 * guest, `Ctrl-C` included; `Ctrl-A x` leaves, `Ctrl-A Ctrl-A` sends one Ctrl-A. It is put back when
 * the machine closes and whenever the process ends by itself. Where standard input is no terminal, its
 * end becomes one EOT (0x04), and there are no escapes.
 * @throws TraplineError `TL_HOST_RESOURCE` at open, if another device has the terminal
 */
export function stdio(options: StdioOptions = {}): HostResource<Duplex> {
  const open = () => {
    const { onLeave } = defaults;
    const leave = () => {
      options.onLeave?.();
      onLeave?.();
    };
    return new StdioConsole({ ...defaults, ...options, onLeave: leave });
  };
  return hostResource<Duplex>('stdio()', open, (opened) => (opened as StdioConsole).finish());
}

class StdioConsole extends Duplex {
  private readonly writer: FdWriter;
  private readonly input: ConsoleInput | undefined;
  private readonly terminal: boolean;
  private wasRaw = false;
  private ended = false;
  private readonly keys = new EscapeFilter(() => this.leave());

  constructor(private readonly options: StdioOptions) {
    super();
    this.writer = new FdWriter(options.stdout ?? 1, OUTPUT_LIMIT);
    this.input = options.input === undefined ? (options.stdin ?? process.stdin) : undefined;
    this.terminal = this.input?.isTTY === true;
    process.once('exit', this.onExit);
    if (this.input) this.listen(this.input);
    else {
      this.push(Buffer.concat([Buffer.from(options.input ?? ''), EOT]));
    }
  }

  /** Gives the terminal back, then writes out. */
  async finish(): Promise<void> {
    this.restore();
    process.off('exit', this.onExit);
    await this.writer.flush(FLUSH_MS);
    this.destroy();
  }

  override _read(): void {
    if (!this.terminal) this.input?.resume();
  }

  override _write(chunk: Buffer, _encoding: BufferEncoding, done: (error?: Error | null) => void): void {
    this.writer.write(chunk, done);
  }

  override _writev(chunks: { chunk: Buffer }[], done: (error?: Error | null) => void): void {
    this.writer.write(Buffer.concat(chunks.map(({ chunk }) => chunk)), done);
  }

  private listen(input: ConsoleInput): void {
    if (taken.has(input)) {
      throw new TraplineError('TL_HOST_RESOURCE', 'the terminal is the console of another device already', {
        who: 'stdio()',
        fix: 'give one of the two file(path) or unixSocket(path)',
      });
    }
    taken.add(input);
    this.wasRaw = input.isRaw === true;
    if (this.terminal) input.setRawMode?.(true);
    input.on('data', this.onInput);
    input.on('end', this.onEnd);
    // A terminal that hangs up says EIO; for the guest, nobody types any more.
    input.on('error', this.onEnd);
    if ((input as { readableEnded?: boolean }).readableEnded) this.onEnd();
  }

  private restore(): void {
    const { input } = this;
    if (!input || !taken.has(input)) return;
    taken.delete(input);
    input.off('data', this.onInput);
    input.off('end', this.onEnd);
    input.off('error', this.onEnd);
    // An input nobody listens to must not keep the process alive.
    input.pause();
    if (this.terminal) input.setRawMode?.(this.wasRaw);
  }

  private leave(): void {
    this.emit('leave');
    this.options.onLeave?.();
  }

  private readonly onInput = (data: Buffer | string): void => {
    const chunk = Buffer.from(data as Buffer);
    if (!this.terminal) {
      if (!this.push(chunk)) this.input?.pause();
      return;
    }
    // Always listened to, also where the guest does not read: a user must be able to leave it.
    const keys = this.keys.filter(chunk);
    if (keys.length > 0 && this.readableLength + keys.length <= TYPED_LIMIT) this.push(keys);
  };

  private readonly onEnd = (): void => {
    if (!this.ended && !this.terminal) this.push(EOT);
    this.ended = true;
  };

  private readonly onExit = (): void => {
    this.restore();
    this.writer.flushSync();
  };
}
