import { spawnSync } from 'node:child_process';
import { existsSync, mkdtempSync, rmSync, statSync, writeFileSync } from 'node:fs';
import { connect, createServer, type Socket } from 'node:net';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import type { Duplex } from 'node:stream';
import { setTimeout as wait } from 'node:timers/promises';
import { defineMachine, formatError, pio, start, TraplineError, use } from '@trapline/core';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { Uart16550, unixSocket } from '../index.js';
import type { SocketConsole } from './unix-socket.js';

let folder: string;
let path: string;
let count = 0;
beforeAll(() => {
  folder = mkdtempSync(join(tmpdir(), 'trapline-unix-'));
});
afterAll(() => rmSync(folder, { recursive: true }));

const signal = new AbortController().signal;

async function opened(options?: Parameters<typeof unixSocket>[1], at = join(folder, `s${count++}`)) {
  path = at;
  const resource = unixSocket(at, options);
  const stream = (await resource.open(signal)) as Duplex & Partial<SocketConsole>;
  return { stream, close: () => resource.close(stream) };
}
const client = (at: string) =>
  new Promise<Socket>((resolve, reject) => {
    const socket = connect(at, () => resolve(socket)).once('error', reject);
  });
/** Waits until something is so. */
async function until(so: () => boolean): Promise<void> {
  for (let i = 0; i < 500 && !so(); i++) await wait(2);
  expect(so()).toBe(true);
}
const problemOf = (promise: Promise<unknown>) =>
  promise.then(
    () => 'it opened',
    (thrown) => (thrown instanceof TraplineError ? formatError(thrown) : String(thrown)),
  );

describe('unixSocket as server', () => {
  it('connects a client with the guest, both ways', async () => {
    const { stream, close } = await opened();
    const one = await client(path);
    let typed = '';
    let shown = '';
    stream.on('data', (data) => {
      typed += data;
    });
    one.on('data', (data) => {
      shown += data;
    });
    one.write('ls\n');
    await until(() => typed === 'ls\n');
    stream.write('file');
    await until(() => shown === 'file');
    one.destroy();
    await close();
  });

  it('drops and counts output while nobody is there', async () => {
    const { stream, close } = await opened();
    stream.write('unheard');
    await wait(5);
    expect(stream.dropped).toBe(7);
    expect(stream.writableNeedDrain).toBe(false);
    await close();
  });

  it('takes one client at a time, and the next one after it', async () => {
    const { stream, close } = await opened();
    const one = await client(path);
    let typed = '';
    stream.on('data', (data) => {
      typed += data;
    });
    one.write('1');
    await until(() => typed === '1');
    const second = await client(path);
    second.on('error', () => {});
    await until(() => second.destroyed || second.readableEnded || second.resume().closed);
    one.end();
    await until(() => one.closed);
    const third = await client(path);
    third.write('3');
    await until(() => typed === '13');
    third.destroy();
    await close();
  });

  it('asks the guest to wait for a client that does not read, until it goes away', async () => {
    const { stream, close } = await opened();
    const one = await client(path);
    one.pause();
    await wait(20);
    let took = 0;
    while (took < 50_000_000 && stream.write(Buffer.alloc(10_000))) {
      took += 10_000;
      await wait(0);
    }
    expect(took).toBeLessThan(5_000_000);
    one.destroy();
    await until(() => !stream.writableNeedDrain);
    expect(stream.dropped).toBeGreaterThan(0);
    await close();
  });

  it('holds a client back while the guest does not read', async () => {
    const { close } = await opened();
    const one = await client(path);
    one.on('error', () => {});
    let took = 0;
    while (took < 50_000_000 && one.write(Buffer.alloc(10_000))) {
      took += 10_000;
      await wait(0);
    }
    expect(took).toBeLessThan(5_000_000);
    await close();
  });

  it('removes its socket file, and a client gets what was written last', async () => {
    const { stream, close } = await opened();
    const one = await client(path);
    let shown = '';
    one.on('data', (data) => {
      shown += data;
    });
    await wait(5);
    stream.write('bye');
    await close();
    await until(() => shown === 'bye');
    expect(existsSync(path)).toBe(false);
  });

  it('replaces the socket file of a process that died', async () => {
    const stale = join(folder, 'stale');
    spawnSync(process.execPath, [
      '-e',
      `require('net').createServer().listen('${stale}', () => process.kill(process.pid, 'SIGKILL'))`,
    ]);
    expect(statSync(stale).isSocket()).toBe(true);
    const { close } = await opened({}, stale);
    (await client(stale)).destroy();
    await close();
  });

  it('does not touch what is in use, or is no socket', async () => {
    const used = join(folder, 'used');
    const other = createServer().listen(used);
    await until(() => other.listening);
    expect(await problemOf(opened({}, used))).toMatch(
      /^error\[TL_HOST_RESOURCE\] unixSocket\(.*used\): cannot be opened: it is in use\nfix: stop/,
    );
    expect(existsSync(used)).toBe(true);
    other.close();
    const plain = join(folder, 'plain');
    writeFileSync(plain, 'precious');
    expect(await problemOf(opened({}, plain))).toContain('it is no socket\nfix: remove the file');
    expect(existsSync(plain)).toBe(true);
  });

  it('says what is wrong with its path', async () => {
    expect(await problemOf(opened({}, join(folder, 'no', 'where')))).toContain('no such file or directory');
    expect(await problemOf(opened({}, join(folder, 'x'.repeat(120))))).toContain('longer than 107 bytes');
  });

  it('gives back its socket where opening was called off', async () => {
    const at = join(folder, 'aborted');
    const abort = new AbortController();
    abort.abort(new Error('called off'));
    await expect(unixSocket(at).open(abort.signal)).rejects.toThrow('called off');
    expect(existsSync(at)).toBe(false);
  });
});

describe('unixSocket as client', () => {
  it('connects to who listens', async () => {
    const at = join(folder, 'theirs');
    let seen = '';
    const server = createServer((socket) => {
      socket.on('data', (data) => {
        seen += data;
      });
      socket.write('?');
    }).listen(at);
    await until(() => server.listening);
    const { stream, close } = await opened({ listen: false }, at);
    let typed = '';
    stream.on('data', (data) => {
      typed += data;
    });
    stream.write('!');
    await until(() => seen === '!' && typed === '?');
    await close();
    server.close();
    expect(existsSync(at)).toBe(false);
  });

  it('says so where nobody does', async () => {
    expect(await problemOf(opened({ listen: false }, join(folder, 'nobody')))).toContain('no such file');
  });
});

describe('a machine with a socket console', () => {
  it('opens it with the machine and closes it with the machine', async () => {
    const at = join(folder, 'machine');
    const machine = defineMachine({
      memory: '1M',
      devices: { com1: use(Uart16550, { at: pio(0x3f8), irq: 4, console: unixSocket(at) }) },
      guest: {
        kind: 'script',
        script: async (cpu) => {
          while ((cpu.read('pio', 0x3fd, 1) & 1) === 0) await wait(1);
          cpu.write('pio', 0x3f8, 1, cpu.read('pio', 0x3f8, 1) + 1);
        },
      },
    });
    expect(existsSync(at)).toBe(false);
    const vm = await start(machine, { backend: 'sim-js' });
    const one = await client(at);
    let shown = '';
    one.on('data', (data) => {
      shown += data;
    });
    one.write('A');
    await until(() => shown === 'B');
    await vm.close();
    expect(existsSync(at)).toBe(false);
  });
});
