import { Buffer } from 'node:buffer';
import { lstatSync, unlinkSync } from 'node:fs';
import { connect, createServer, type Server, type Socket } from 'node:net';
import { dirname } from 'node:path';
import { Duplex } from 'node:stream';
import { type HostResource, hostResource } from '@trapline/core';
import { openError } from './open-error.js';

/** Options of {@link unixSocket}. */
export interface UnixSocketOptions {
  /** `true`, the default: listen there and take one client at a time. `false`: connect to who listens. */
  readonly listen?: boolean;
}

/** Longest path a socket address holds (sun_path, without its final NUL). */
const LONGEST_PATH = 107;
const FLUSH_MS = 1_000;

/**
 * A console on a Unix socket. While nobody is connected, output is dropped and counted in the
 * stream's `dropped`. As server it removes a stale socket file first, and its own when it closes.
 * @throws TraplineError `TL_HOST_RESOURCE` at open: in use, not permitted, nobody listens
 */
export function unixSocket(path: string, { listen = true }: UnixSocketOptions = {}): HostResource<Duplex> {
  const description = `unixSocket(${path})`;
  const open = async (signal: AbortSignal) => {
    try {
      if (Buffer.byteLength(path) > LONGEST_PATH) throw new Error(`its path is longer than ${LONGEST_PATH} bytes`);
      const opened = new SocketConsole();
      if (listen) opened.server = await serve(path, (client) => opened.attach(client));
      else opened.attach(await dial(path));
      if (!signal.aborted) return opened;
      await opened.finish();
      throw signal.reason;
    } catch (thrown) {
      throw openError(description, thrown);
    }
  };
  return hostResource<Duplex>(description, open, (opened) => (opened as SocketConsole).finish());
}

/** The stream behind {@link unixSocket}. */
export class SocketConsole extends Duplex {
  server: Server | undefined;
  /** Bytes written while nobody was connected. */
  dropped = 0;
  private client: Socket | undefined;

  attach(client: Socket): void {
    if (this.client || this.destroyed) {
      client.destroy();
      return;
    }
    this.client = client;
    client.on('data', (data) => {
      if (!this.push(data)) client.pause();
    });
    // 'close' follows, and says the same.
    client.on('error', () => {});
    client.on('close', () => {
      if (this.client === client) this.client = undefined;
    });
  }

  /** Lets the client read what is on its way, then ends. */
  async finish(): Promise<void> {
    const { client, server } = this;
    const closed = new Promise<void>((resolve) => (server ? server.close(() => resolve()) : resolve()));
    if (client) {
      const gone = new Promise<void>((resolve) => client.once('close', () => resolve()));
      const timer = setTimeout(() => client.destroy(), FLUSH_MS);
      client.resume();
      client.end(() => client.destroy());
      await gone;
      clearTimeout(timer);
    }
    this.destroy();
    await closed;
  }

  override _read(): void {
    this.client?.resume();
  }

  override _write(chunk: Buffer, _encoding: BufferEncoding, done: (error?: Error | null) => void): void {
    if (!this.client) {
      this.dropped += chunk.length;
      done();
      return;
    }
    this.client.write(chunk, (error) => {
      // A client that goes away takes its bytes with it; the guest goes on.
      if (error) this.dropped += chunk.length;
      done();
    });
  }

  override _writev(chunks: { chunk: Buffer }[], done: (error?: Error | null) => void): void {
    this._write(Buffer.concat(chunks.map(({ chunk }) => chunk)), 'utf8', done);
  }
}

function dial(path: string): Promise<Socket> {
  return new Promise((resolve, reject) => {
    const socket = connect(path);
    socket.once('error', reject);
    socket.once('connect', () => {
      socket.off('error', reject);
      resolve(socket);
    });
  });
}

async function serve(path: string, client: (socket: Socket) => void): Promise<Server> {
  try {
    return await listenAt(path, client);
  } catch (thrown) {
    const { code } = thrown as { code?: string };
    // Node says EACCES also where the directory is missing.
    if (code === 'EACCES') lstatSync(dirname(path));
    if (code !== 'EADDRINUSE') throw thrown;
    if (!lstatSync(path).isSocket()) throw Object.assign(new Error(`${path} is no socket`), { code: 'ENOTSOCK' });
    if (await answers(path)) throw thrown;
    // Nobody behind it: a process that died left it.
    unlinkSync(path);
    return listenAt(path, client);
  }
}

function listenAt(path: string, client: (socket: Socket) => void): Promise<Server> {
  return new Promise((resolve, reject) => {
    const server = createServer(client);
    server.once('error', reject);
    server.listen(path, () => {
      server.off('error', reject);
      // A connection that fails to be accepted is its own problem.
      server.on('error', () => {});
      resolve(server);
    });
  });
}

async function answers(path: string): Promise<boolean> {
  try {
    (await dial(path)).destroy();
    return true;
  } catch (thrown) {
    return (thrown as { code?: string }).code !== 'ECONNREFUSED';
  }
}
