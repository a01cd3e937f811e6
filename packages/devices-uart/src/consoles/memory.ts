import { Buffer } from 'node:buffer';
import { Duplex } from 'node:stream';
import { type HostResource, hostResource } from '@trapline/core';

/** A console for tests; see {@link memoryConsole}. */
export interface MemoryConsole extends HostResource<Duplex> {
  /** All the guest has written, as UTF-8 text. */
  readonly output: string;
  /** All the guest has written. */
  readonly bytes: Uint8Array;
  /** Types into the guest. Before the console is open, it waits there. */
  type(input: string | Uint8Array): void;
  /** Takes no output until {@link release}: what a stalled terminal does. */
  hold(): void;
  release(): void;
}

/** Options of {@link memoryConsole}. */
export interface MemoryConsoleOptions {
  /** Bytes held back before the guest is asked to wait. Default 16384. */
  readonly highWaterMark?: number;
}

/** A console in memory. Opens synchronously, so `drive()` takes it; it keeps all output. */
export function memoryConsole({ highWaterMark = 16_384 }: MemoryConsoleOptions = {}): MemoryConsole {
  const written: Buffer[] = [];
  const early: Uint8Array[] = [];
  let stream: MemoryStream | undefined;
  let held = false;
  const open = () => {
    stream = new MemoryStream(written, highWaterMark);
    stream.held = held;
    for (const input of early.splice(0)) stream.push(input);
    return stream;
  };
  const resource = hostResource<Duplex>('memoryConsole()', open, (opened) => {
    opened.destroy();
  });
  return {
    ...resource,
    get output() {
      return Buffer.concat(written).toString();
    },
    get bytes() {
      return new Uint8Array(Buffer.concat(written));
    },
    type(input) {
      const bytes = Buffer.from(input as Uint8Array);
      if (stream) stream.push(bytes);
      else early.push(bytes);
    },
    hold() {
      held = true;
      if (stream) stream.held = true;
    },
    release() {
      held = false;
      stream?.release();
    },
  };
}

class MemoryStream extends Duplex {
  held = false;
  private waiting: (() => void) | undefined;

  constructor(
    private readonly written: Buffer[],
    highWaterMark: number,
  ) {
    super({ writableHighWaterMark: highWaterMark });
    // After a first read, what is pushed reaches a listener at once, not a tick later.
    this.read(0);
  }

  release(): void {
    this.held = false;
    const { waiting } = this;
    this.waiting = undefined;
    waiting?.();
  }

  override _read(): void {}

  override _write(chunk: Buffer, _encoding: BufferEncoding, done: (error?: Error | null) => void): void {
    const take = () => {
      this.written.push(chunk);
      done();
    };
    if (this.held) this.waiting = take;
    else take();
  }
}
