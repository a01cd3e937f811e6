import { Buffer } from 'node:buffer';
import { close, openSync } from 'node:fs';
import { Duplex } from 'node:stream';
import { type HostResource, hostResource } from '@trapline/core';
import { FdWriter } from './fd-writer.js';
import { openError } from './open-error.js';

/** Options of {@link file}. */
export interface FileConsoleOptions {
  /** Keeps what the file holds and writes behind it. Default: the file starts empty. */
  readonly append?: boolean;
}

const LIMIT = 256 * 1024;
const FLUSH_MS = 10_000;

/**
 * A console that is a file: output goes there, input never comes.
 * @throws TraplineError `TL_HOST_RESOURCE` at open, if the file cannot be written
 */
export function file(path: string, { append = false }: FileConsoleOptions = {}): HostResource<Duplex> {
  const description = `file(${path})`;
  const open = () => {
    try {
      return new FileConsole(openSync(path, append ? 'a' : 'w'));
    } catch (thrown) {
      throw openError(description, thrown);
    }
  };
  return hostResource<Duplex>(description, open, (opened) => (opened as FileConsole).finish());
}

class FileConsole extends Duplex {
  private readonly writer: FdWriter;

  constructor(private readonly fd: number) {
    super();
    this.writer = new FdWriter(fd, LIMIT);
    this.push(null);
  }

  /** Writes out and closes the file. */
  async finish(): Promise<void> {
    await this.writer.flush(FLUSH_MS);
    this.destroy();
    await new Promise<void>((resolve) => close(this.fd, () => resolve()));
  }

  override _read(): void {}

  override _write(chunk: Buffer, _encoding: BufferEncoding, done: (error?: Error | null) => void): void {
    this.writer.write(chunk, done);
  }

  override _writev(chunks: { chunk: Buffer }[], done: (error?: Error | null) => void): void {
    this.writer.write(Buffer.concat(chunks.map(({ chunk }) => chunk)), done);
  }
}
