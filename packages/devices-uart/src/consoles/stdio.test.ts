import { execFileSync, spawn, spawnSync } from 'node:child_process';
import { closeSync, mkdtempSync, openSync, read, readFileSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { PassThrough } from 'node:stream';
import { setImmediate as tick, setTimeout as wait } from 'node:timers/promises';
import { fileURLToPath } from 'node:url';
import { promisify } from 'node:util';
import { formatError, type TraplineError } from '@trapline/core';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { stdio } from '../index.js';

let folder: string;
beforeAll(() => {
  folder = mkdtempSync(join(tmpdir(), 'trapline-stdio-'));
});
afterAll(() => rmSync(folder, { recursive: true }));

const signal = new AbortController().signal;

class Keyboard extends PassThrough {
  isTTY = true;
  isRaw = false;
  readonly modes: boolean[] = [];
  setRawMode(raw: boolean) {
    this.isRaw = raw;
    this.modes.push(raw);
    return this;
  }
}

async function opened(options: Parameters<typeof stdio>[0] = {}) {
  const path = join(folder, `out-${Math.random()}`);
  const stdout = openSync(path, 'w');
  const resource = stdio({ stdout, ...options });
  const stream = await resource.open(signal);
  const typed: Buffer[] = [];
  return {
    stream,
    listen: () => stream.on('data', (data: Buffer) => typed.push(data)),
    typed: async () => {
      for (let i = 0; i < 5; i++) await tick();
      return Buffer.concat(typed).toString('latin1');
    },
    close: async () => {
      await resource.close(stream);
      closeSync(stdout);
      return readFileSync(path, 'utf8');
    },
  };
}

describe('stdio on a terminal', () => {
  it('sets raw mode, and puts back what was there', async () => {
    const stdin = new Keyboard();
    const one = await opened({ stdin });
    expect(stdin.modes).toEqual([true]);
    await one.close();
    expect(stdin.modes).toEqual([true, false]);
    expect(stdin.listenerCount('data')).toBe(0);
    expect(stdin.isPaused()).toBe(true);
  });

  it('leaves a raw terminal raw', async () => {
    const stdin = new Keyboard();
    stdin.isRaw = true;
    await (await opened({ stdin })).close();
    expect(stdin.isRaw).toBe(true);
  });

  it('gives every key to the guest, Ctrl-C and Ctrl-D included', async () => {
    const stdin = new Keyboard();
    const one = await opened({ stdin });
    one.listen();
    stdin.write('ls\r\x03\x04');
    expect(await one.typed()).toBe('ls\r\x03\x04');
    await one.close();
  });

  it('Ctrl-A x leaves: event and hook', async () => {
    const stdin = new Keyboard();
    const left: string[] = [];
    const one = await opened({ stdin, onLeave: () => left.push('hook') });
    one.stream.on('leave', () => left.push('event'));
    one.listen();
    stdin.write('a\x01');
    stdin.write('xb');
    expect(await one.typed()).toBe('ab');
    expect(left).toEqual(['event', 'hook']);
    await one.close();
  });

  it('Ctrl-A Ctrl-A is one Ctrl-A; Ctrl-A before another key is nothing', async () => {
    const stdin = new Keyboard();
    const one = await opened({ stdin });
    one.listen();
    stdin.write('\x01\x01\x01qr\x01');
    stdin.write('\x01s');
    expect(await one.typed()).toBe('\x01r\x01s');
    await one.close();
  });

  it('can be left while the guest reads nothing, and keeps no more than it must', async () => {
    const stdin = new Keyboard();
    let left = 0;
    const one = await opened({ stdin, onLeave: () => left++ });
    for (let i = 0; i < 300; i++) {
      stdin.write('x'.repeat(1000));
      await tick();
    }
    expect(one.stream.readableLength).toBeLessThanOrEqual(64 * 1024);
    stdin.write('\x01x');
    await tick();
    expect(left).toBe(1);
    await one.close();
  });

  it('belongs to one device at a time', async () => {
    const stdin = new Keyboard();
    const one = await opened({ stdin });
    const error = await opened({ stdin }).catch((thrown: TraplineError) => thrown);
    expect(formatError(error as TraplineError)).toMatch(/^error\[TL_HOST_RESOURCE\] stdio\(\): .*\nfix: give one/);
    await one.close();
    await (await opened({ stdin })).close();
  });
});

describe('stdio without a terminal', () => {
  it('the end of the input is one EOT', async () => {
    const stdin = new PassThrough();
    const one = await opened({ stdin });
    one.listen();
    stdin.end('exit 3\n\x01x');
    expect(await one.typed()).toBe('exit 3\n\x01x\x04');
    stdin.emit('error', new Error('EIO'));
    expect(await one.typed()).toBe('exit 3\n\x01x\x04');
    await one.close();
  });

  it('an input that ended before is one EOT', async () => {
    const stdin = new PassThrough();
    stdin.end();
    stdin.resume();
    await wait(5);
    const one = await opened({ stdin });
    one.listen();
    expect(await one.typed()).toBe('\x04');
    await one.close();
  });

  it('holds the input back while the guest does not read', async () => {
    const stdin = new PassThrough({ highWaterMark: 1000 });
    const one = await opened({ stdin });
    await tick();
    let accepted = 0;
    while (accepted < 1_000_000 && stdin.write(Buffer.alloc(1000, 0x61))) {
      accepted += 1000;
      await tick();
    }
    expect(accepted).toBeLessThan(100_000);
    one.listen();
    await wait(20);
    expect(one.stream.readableLength).toBe(0);
    await one.close();
  });

  it('takes scripted input instead, then EOT', async () => {
    const one = await opened({ input: 'poweroff\n' });
    one.listen();
    expect(await one.typed()).toBe('poweroff\n\x04');
    await one.close();
  });
});

describe('the output of stdio', () => {
  it('is all there after close, in order', async () => {
    const one = await opened({ input: '' });
    const lines = Array.from({ length: 20_000 }, (_, i) => `line ${i}\n`);
    for (const line of lines) one.stream.write(line);
    expect(await one.close()).toBe(lines.join(''));
  });

  it('never blocks on a pipe nobody empties, and asks the guest to wait', async () => {
    const path = join(folder, 'fifo');
    execFileSync('mkfifo', [path]);
    const stdout = openSync(path, 'r+');
    const resource = stdio({ input: '', stdout });
    const stream = await resource.open(signal);
    let took = 0;
    const start = performance.now();
    while (took < 10_000_000 && stream.write(Buffer.alloc(1000, 0x61))) took += 1000;
    expect(performance.now() - start).toBeLessThan(1000);
    expect(took).toBeLessThan(200_000);
    const drained = new Promise((resolve) => stream.once('drain', resolve));
    const buffer = Buffer.alloc(65_536);
    const readSome = promisify(read);
    for (let got = 0; got < took + 1000; ) got += (await readSome(stdout, buffer, 0, buffer.length, null)).bytesRead;
    await drained;
    await resource.close(stream);
    closeSync(stdout);
  });
});

const hasScript = spawnSync('script', ['--version']).status === 0;

describe.skipIf(!hasScript)('stdio on a real pseudo-terminal', () => {
  /** Runs a program on a terminal of its own, types `keys` at it once it says it is ready. */
  async function onTerminal(program: string, keys: string): Promise<string> {
    const node = `node --conditions=trapline-src --import @oxc-node/core/register --input-type=module -e "${program}"`;
    const command = `echo before $(stty -g); ${node}; echo status $?; echo after $(stty -g)`;
    const child = spawn('script', ['-qefc', command, '/dev/null'], {
      cwd: fileURLToPath(new URL('../..', import.meta.url)),
      env: { ...process.env, NODE_OPTIONS: '', SHELL: '/bin/sh' },
    });
    let seen = '';
    child.stdout.on('data', (data: Buffer) => {
      if (!seen.includes('ready') && (seen + data).includes('ready')) child.stdin.write(keys);
      seen += data;
    });
    await new Promise((resolve) => child.once('close', resolve));
    return seen;
  }
  const modes = (seen: string) => [/before (\S+)/.exec(seen)?.[1], /after (\S+)/.exec(seen)?.[1]];
  const OPEN = `
    import { stdio } from '@trapline/devices-uart';
    import { execSync } from 'node:child_process';
    const con = stdio({ onLeave: async () => { await con.close(s); console.log('left'); } });
    const s = await con.open(new AbortController().signal);
    s.on('data', (d) => s.write('<' + d.toString('hex') + '>'));
    console.log('raw ' + process.stdin.isRaw);`;

  it('passes keys on, leaves on Ctrl-A x, and restores the terminal', async () => {
    const seen = await onTerminal(`${OPEN} s.write('ready');`, 'q\x03\x01x');
    expect(seen).toContain('raw true');
    expect(seen).toMatch(/<71>?.*03>/);
    expect(seen).toContain('left');
    expect(seen).toContain('status 0');
    const [before, after] = modes(seen);
    expect(after).toBe(before);
  }, 20_000);

  it.each([
    ['process.exit', 'process.exit(5)', 'status 5'],
    ['an exception nobody catches', "throw new Error('oops')", 'status 1'],
    ['SIGTERM', "process.kill(process.pid, 'SIGTERM')", 'status 143'],
  ])(
    'restores the terminal on %s, with what was written',
    async (_name, end, status) => {
      const seen = await onTerminal(`${OPEN} s.write('ready'); s.on('data', () => { ${end} });`, 'q');
      expect(seen).toContain('ready');
      expect(seen).toContain(status);
      const [before, after] = modes(seen);
      expect(after).toBe(before);
    },
    20_000,
  );
});
