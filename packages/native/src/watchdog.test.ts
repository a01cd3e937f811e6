import { spawn, spawnSync } from 'node:child_process';
import { mkdtempSync, openSync, readFileSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { fileURLToPath } from 'node:url';
import {
  Device,
  defineMachine,
  type IoHandler,
  Pio,
  simJs,
  start,
  TraplineError,
  use,
  WATCH,
  WATCH_KIND,
} from '@trapline/core';
import { afterEach, describe, expect, it, onTestFinished, vi } from 'vitest';
import { loadNative } from './addon.js';
import { hostHoldings } from './testing/stub-machine.js';
import { type Watchdog, type WatchdogOptions, watchdog } from './watchdog.js';

const native = loadNative();
const nap = new Int32Array(new SharedArrayBuffer(4));
/** Sleeps, and lets nothing else happen on this thread: what a handler that waits does. */
const block = (ms: number) => Atomics.wait(nap, 0, 0, ms);

afterEach(() => vi.unstubAllEnvs());

describe('a watchdog', () => {
  it('is none where the addon is not there', () => {
    vi.stubEnv('TRAPLINE_PLATFORM', 'darwin');
    expect(watchdog()).toBeUndefined();
  });

  it.each([{ warnAfterMs: -1 }, { timeoutMs: Number.NaN }, { timeoutMs: 2 ** 31 }])('refuses %o', (options) => {
    expect(() => watchdog(options)).toThrow(expect.objectContaining({ code: 'TL_USAGE', who: 'watchdog' }));
  });
});

/** Watches this thread. @returns what was written, too */
function watching(options: WatchdogOptions) {
  const folder = mkdtempSync(join(tmpdir(), 'trapline-test-'));
  const file = join(folder, 'lines');
  const fd = openSync(file, 'w');
  const watch = watchdog({ fd, ...options }) as Watchdog;
  onTestFinished(() => {
    watch.close();
    rmSync(folder, { recursive: true });
  });
  watch.name(1, 'com1');
  watch.name(2, 'disk');
  watch.name(-1, 'a timer');
  const text = () => readFileSync(file, 'utf8');
  /** Blocks until something was written. */
  const until = (part: string) => {
    // Nothing else can end a test that blocks its thread.
    for (let tries = 0; !text().includes(part); tries++) {
      if (tries > 4000) throw new Error(`only this was written: ${text()}`);
      block(5);
    }
  };
  return { watch, text, until };
}

/** Plays the machine: device code begins in a frame. */
function enter({ words }: Watchdog, frame: number, entry: number, kind: number, low: number, high = 0): void {
  words.set([entry, low, high, kind], frame * WATCH.frameWords + WATCH.entry);
  (words[frame * WATCH.frameWords] as number)++;
}
const leave = ({ words }: Watchdog, frame: number) => void (words[frame * WATCH.frameWords] as number)++;

describe.skipIf(!native.addon)('addon: the watchdog names', () => {
  const { write, mmio, work } = WATCH_KIND;
  it.each([
    ['read of 1 at pio 0x3f8', 1, 0x3f8, 0],
    ['write of 8 at mmio 0x128ffffff8', 8 | write | mmio | (3 << WATCH_KIND.vcpuShift), 0x8fff_fff8 | 0, 0x12],
    ['a timer', work, -1, 0],
  ])('%s, once, however long it takes', (what, kind, low, high) => {
    const { watch, text, until } = watching({ warnAfterMs: 50 });
    enter(watch, 0, 1, kind, low, high);
    until('\n');
    block(200);
    leave(watch, 0);
    expect(text()).toMatch(/^warn com1: .* has not returned for \d+\.\d s\n$/);
    expect(text()).toContain(` ${what} has`);
  });

  it('each call that takes long, none that does not, and not the time of two together', () => {
    const { watch, text, until } = watching({ warnAfterMs: 2500 });
    for (let i = 0; i < 2; i++) {
      enter(watch, 0, 2, 1, i);
      block(1600);
      leave(watch, 0);
    }
    block(50);
    expect(text()).toBe('');
    enter(watch, 0, 2, 1, 3);
    until('disk: read of 1 at pio 0x3 has not returned for 2.');
    leave(watch, 0);
  });

  it('the innermost of several, and then the one around it', () => {
    const { watch, text, until } = watching({ warnAfterMs: 100, timeoutMs: 2000 });
    enter(watch, 0, 1, 1, 0x10);
    enter(watch, 1, 2, 1, 0x20);
    until('\n');
    leave(watch, 1);
    until('error');
    leave(watch, 0);
    const [warning, error] = text().split('\n') as [string, string];
    expect(warning).toContain('warn disk: read of 1 at pio 0x20');
    expect(error).toBe('error[TL_HANDLER_TIMEOUT] com1: read of 1 at pio 0x10 did not return within 2 s');
  });

  it('nothing where it shall not', () => {
    const { watch, text, until } = watching({ warnAfterMs: 0, timeoutMs: 100 });
    enter(watch, 0, 1, 1, 0x10);
    until('fix: a handler must return at once');
    leave(watch, 0);
    expect(text()).toMatch(
      /^error\[TL_HANDLER_TIMEOUT\] com1: read of 1 at pio 0x10 did not return within 0.1 s\nfix: /,
    );
  });

  it('what nobody named', () => {
    const { watch, until } = watching({ warnAfterMs: 50 });
    enter(watch, 0, 99, 1, 0x10);
    until('warn a device: read of 1 at pio 0x10 has');
  });
});

/** Blocks the whole thread for as long as it is told to. */
@Device({ type: 'blocking', summary: 'does not return for a while' })
@Pio({ base: 0x10, size: 4 })
class Blocking implements IoHandler {
  read(_offset: number, size: number): number {
    block(size === 4 ? 400 : 0);
    return 0;
  }
  write(): void {}
}

describe.skipIf(!native.addon)('addon: a machine whose handler does not return in time', () => {
  const machine = defineMachine({
    memory: '64K',
    devices: { slow: use(Blocking) },
    guest: {
      kind: 'script',
      script: async (cpu) => {
        for (;;) {
          cpu.read('pio', 0x10, 4);
          await cpu.sleep(1);
        }
      },
    },
  });

  it('ends once it has returned, and leaves the others alone', async () => {
    const watch = watchdog({ timeoutMs: 50 }) as Watchdog;
    const other = await start({ ...machine, guest: undefined }, { backend: simJs() });
    const vm = await start(machine, { backend: simJs(), watch });
    const { reason, error } = await vm.wait();
    expect(reason).toBe('backend-failed');
    expect(error).toBeInstanceOf(TraplineError);
    expect(error).toMatchObject({
      code: 'TL_HANDLER_TIMEOUT',
      message: 'slow: read of 4 at pio 0x10 did not return within 0.05 s',
    });
    expect(other.state).toBe('running');
    await Promise.all([vm.close(), other.close()]);
    watch.close();
    watch.close();
    expect(watch.words).toHaveLength(0);
  });

  it('goes on if it is only slow', async () => {
    const watch = watchdog({ warnAfterMs: 50, timeoutMs: 20_000 }) as Watchdog;
    const vm = await start(machine, { backend: simJs(), watch });
    while (vm.counters()[0]?.reads !== 3) await new Promise((resolve) => setTimeout(resolve, 5));
    expect(vm.state).toBe('running');
    await vm.close();
    watch.close();
  });
});

describe.skipIf(!native.addon)('addon: a process, or a thread, that is watched', () => {
  const script = fileURLToPath(new URL('./testing/watched-process.mjs', import.meta.url));
  const run = (how: string) => {
    const { status, signal, stdout, stderr } = spawnSync(process.execPath, [script, how], {
      encoding: 'utf8',
      timeout: 20_000,
    });
    return { status, signal, stdout, stderr };
  };
  const clean = { status: 0, signal: null, stdout: '', stderr: '' };

  it('ends with the code it was given', () => {
    const stderr = 'error[TL_HANDLER_TIMEOUT] com1: write of 2 at pio 0x3f8 did not return within 0.05 s\nfix: none\n';
    expect(run('stuck')).toEqual({ ...clean, status: 7, stderr });
  });

  it('ends although nobody reads its last words', () => {
    expect(run('unread')).toEqual({ ...clean, status: 7 });
  });

  it('is not blamed for the time in which it was stopped', async () => {
    const child = spawn(process.execPath, [script, 'stopped'], { stdio: 'pipe' });
    let text = '';
    child.stderr.on('data', (data) => {
      text += data;
    });
    child.stdout.on('data', (data) => {
      text += data;
      if (text !== 'running\n') return;
      child.kill('SIGSTOP');
      setTimeout(() => child.kill('SIGCONT'), 5000);
    });
    await new Promise((resolve) => child.on('close', resolve));
    expect(text).toBe('running\nreturned\n');
  });

  it('ends by process.exit out of a handler', () => {
    expect(run('exit')).toEqual({ ...clean, status: 3 });
  });

  it('ends by itself, watched as it is', () => {
    expect(run('idle')).toEqual(clean);
  });

  it.each(['workers', 'cycles'])('leaves no thread behind: %s', (how) => {
    expect(run(how)).toEqual({ ...clean, stdout: 'nobody watches\n' });
  });

  it('gives every descriptor back', async () => {
    watchdog()?.close();
    const { descriptors } = hostHoldings();
    for (let n = 0; n < 20; n++) watchdog()?.close();
    expect(hostHoldings().descriptors).toBe(descriptors);
  });
});
