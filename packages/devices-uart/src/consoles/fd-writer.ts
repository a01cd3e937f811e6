import { Buffer } from 'node:buffer';
import { write, writeSync } from 'node:fs';

type Done = (error?: Error | null) => void;

/** A terminal that is slow answers EAGAIN; how long to leave it alone, in ms. */
const RETRY_MS = 5;

/**
 * Writes to a file descriptor without ever blocking this thread, in order, gathering what comes
 * while a write is under way. `process.stdout` would block on a pipe or terminal nobody empties, and
 * every vCPU with it.
 */
export class FdWriter {
  private queue: Buffer[] = [];
  private queued = 0;
  private busy = false;
  private failed: Error | undefined;
  private waiting: Done[] = [];
  private idle: (() => void)[] = [];

  /** @param limit bytes taken before `done` of {@link write} waits for the descriptor */
  constructor(
    private readonly fd: number,
    private readonly limit: number,
  ) {}

  /** Takes a chunk; `done` is called once there is room for another. */
  write(chunk: Buffer, done: Done): void {
    if (this.failed) {
      done(this.failed);
      return;
    }
    this.queue.push(chunk);
    this.queued += chunk.length;
    if (this.queued < this.limit) done();
    else this.waiting.push(done);
    if (!this.busy) this.next();
  }

  /** Resolves when all has been written, or has failed, or `ms` have passed. */
  flush(ms: number): Promise<void> {
    if (!this.busy) return Promise.resolve();
    return new Promise((resolve) => {
      const timer = setTimeout(resolve, ms);
      this.idle.push(() => {
        clearTimeout(timer);
        resolve();
      });
    });
  }

  /** Writes what is still queued as far as the descriptor takes it: for the end of the process. */
  flushSync(): void {
    const rest = Buffer.concat(this.queue.splice(0));
    this.queued = 0;
    try {
      for (let at = 0; at < rest.length; ) at += writeSync(this.fd, rest, at);
    } catch {
      // The process ends, and the descriptor takes nothing: there is nobody left to tell.
    }
  }

  private next(): void {
    if (this.queue.length === 0 || this.failed) {
      this.busy = false;
      for (const tell of this.idle.splice(0)) tell();
      return;
    }
    this.busy = true;
    const chunk = this.queue.length === 1 ? (this.queue[0] as Buffer) : Buffer.concat(this.queue);
    this.queue = [];
    this.writeAll(chunk, (error) => {
      this.queued -= chunk.length;
      if (error) this.failed = error;
      const waiting = this.queued < this.limit || error ? this.waiting.splice(0) : [];
      for (const done of waiting) done(error);
      this.next();
    });
  }

  private writeAll(chunk: Buffer, done: Done): void {
    write(this.fd, chunk, 0, chunk.length, null, (error, written) => {
      if (error?.code === 'EAGAIN') setTimeout(() => this.writeAll(chunk, done), RETRY_MS);
      else if (error) done(error);
      else if (written < chunk.length) this.writeAll(chunk.subarray(written), done);
      else done();
    });
  }
}
