// The host's end of the serial line: a stream, with back-pressure both ways. Holds nothing the
// guest can see; whatever the guest shall notice goes through the two inbox ports.
import { Buffer } from 'node:buffer';
import type { Duplex } from 'node:stream';
import { type Log, messageOf } from '@trapline/core';

/** What has gone through a console, in bytes. Of the host: not saved, not reset. */
export interface SerialStats {
  /** Taken from the console. */
  received: number;
  /** Given to the console. */
  sent: number;
  readonly dropped: {
    /** From the host, for want of room: the guest never saw them. */
    input: number;
    /** From the guest: no console, a console that failed, or a write into a full transmitter. */
    output: number;
  };
}

/** The machine's inbox, as the link uses it. */
export interface LinkPorts {
  /** Bytes for the guest. */
  input(bytes: Uint8Array): void;
  /** The console takes no more, or takes again. */
  output(state: 'full' | 'ready'): void;
}

/** One-byte chunks, made once: a guest's byte costs no allocation. Streams do not change their chunks. */
const CHUNKS: readonly Buffer[] = Array.from({ length: 256 }, (_, byte) => Buffer.of(byte));

/** Bytes a console may owe us. A guest held back by THRE stays far below; one that ignores THRE does not. */
const OUTPUT_LIMIT = 1024 * 1024;

export class ConsoleLink {
  readonly stats: SerialStats = { received: 0, sent: 0, dropped: { input: 0, output: 0 } };
  private stream: Duplex | undefined;
  private running = false;
  private held = false;
  /** Bytes on their way through the inbox. */
  private posted = 0;

  /** @param room how many bytes the device can hold for the guest, beside those on their way */
  constructor(
    private readonly ports: LinkPorts,
    private readonly room: () => number,
    private readonly log: Log,
  ) {}

  /** Does the console ask us to wait? */
  get full(): boolean {
    return this.stream?.writableNeedDrain ?? false;
  }

  /** Lets bytes flow. The machine runs. */
  resume(stream: Duplex | undefined): void {
    if (this.stream !== stream) this.connect(stream);
    if (this.running || !stream) return;
    this.running = true;
    // Paused first: a new listener would set a stream flowing that nobody has asked yet.
    stream.pause();
    stream.on('data', this.onData);
    this.held = true;
    this.flow();
  }

  /** Takes nothing more from the host; what it sends meanwhile stays in its stream. */
  pause(): void {
    if (!this.running) return;
    this.running = false;
    this.stream?.off('data', this.onData);
    this.stream?.pause();
  }

  /** Posted bytes have arrived in the device. */
  arrived(count: number): void {
    this.posted = Math.max(0, this.posted - count);
  }

  /** The device has room again, perhaps: lets a held stream go on. */
  flow(): void {
    if (!this.held || !this.running || this.free() <= 0) return;
    this.held = false;
    this.stream?.resume();
  }

  /** Gives a byte to the console. Never blocks, never throws. */
  send(byte: number): void {
    const { stream } = this;
    if (!stream?.writable || stream.writableLength >= OUTPUT_LIMIT) {
      this.stats.dropped.output++;
      return;
    }
    this.stats.sent++;
    if (!stream.write(CHUNKS[byte & 0xff])) this.ports.output('full');
  }

  private free(): number {
    return this.room() - this.posted;
  }

  private connect(stream: Duplex | undefined): void {
    this.stream = stream;
    if (!stream) return;
    // They stay for the stream's life: an 'error' nobody hears would end the process.
    stream.on('drain', () => this.ports.output('ready'));
    stream.on('close', () => this.ports.output('ready'));
    stream.on('error', (error) => {
      this.log.warn(`its console failed: ${messageOf(error)}; output is dropped from now on`);
      this.ports.output('ready');
    });
  }

  private readonly onData = (chunk: Uint8Array | string): void => {
    const bytes = typeof chunk === 'string' ? Buffer.from(chunk) : chunk;
    const now = bytes.subarray(0, Math.max(0, this.free()));
    if (now.length > 0) {
      this.posted += now.length;
      this.stats.received += now.length;
      this.ports.input(now);
    }
    const later = bytes.subarray(now.length);
    if (later.length === 0 && this.free() > 0) return;
    this.held = true;
    this.stream?.pause();
    if (later.length > 0) this.stream?.unshift(later);
  };
}
