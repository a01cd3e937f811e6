// A device handler that does not return: the real command names it, and ends.
import { loadNative } from '@trapline/native';
import { describe, expect, it } from 'vitest';
import { BIN, execute, machineText, project, trapline } from '../test/cli.js';
import { hasTerminals, inTerminal, NORMAL } from '../test/terminal.js';
import { parseHandlerTimeout } from './run/handler-watch.js';

const { addon } = loadNative();

/** Port 0 answers, 1 never does; a write takes as many tenths of a second as the value. */
const SLOW = `
@Device({ type: 'slow', summary: 'takes its time' })
@Pio({ base: 0x40, size: 2 })
class Slow {
  read(offset) { if (offset === 1) for (;;); return 0; }
  write(_offset, _size, tenths) { for (const end = Date.now() + tenths * 100; Date.now() < end;); }
}
@Device({ type: 'reset', summary: 'never gets through its reset' })
class Reset { onReset() { for (;;); } }
`;
const machine = (script: string, devices = 'slow: use(Slow), exit: use(Exit)') =>
  project({ 'm.ts': machineText(devices, script, SLOW) });
const END = "cpu.write('pio', 0xf4, 1, 7);";
const errorOf = (who: string, what: string, seconds: string) => [
  `error[TL_HANDLER_TIMEOUT] ${who}: ${what} did not return within ${seconds} s`,
  'fix: a handler must return at once: finish slow work later, or declare the region with defer: true',
];

describe('--handler-timeout', () => {
  it.each([
    [undefined, 10_000],
    ['0', 0],
    ['2.5', 2500],
    ['0.0001', 1],
  ])('%s', (text, ms) => {
    expect(parseHandlerTimeout(text)).toBe(ms);
  });

  it.each(['', 'x', '-1', '1e3', '0x10', '2147484', 'Infinity'])('refuses %s', async (text) => {
    expect(() => parseHandlerTimeout(text)).toThrow(expect.objectContaining({ code: 'TL_USAGE' }));
  });

  it('is refused before anything runs', async () => {
    expect(await trapline(['run', 'none.ts', '--handler-timeout', 'soon'])).toMatchObject({
      code: 2,
      stderr:
        'error[TL_USAGE] trapline run: --handler-timeout soon is no number of seconds\n' +
        'fix: write for example --handler-timeout 30, or 0 for no limit\n',
    });
  });
});

describe.skipIf(!addon)('addon: a handler that does not return', () => {
  it('is named, and the process ends with 1', async () => {
    // Long enough for the engine to have compiled the way of an access to machine code.
    const script = "for (let i = 0; i < 200_000; i++) cpu.read('pio', 0x40, 1); cpu.read('pio', 0x41, 1);";
    const { code, signal, stdout, stderr } = await trapline(['run', 'm.ts', '--handler-timeout', '1'], {
      cwd: machine(script),
    });
    expect({ code, signal, stdout }).toEqual({ code: 1, signal: null, stdout: '' });
    expect(stderr.trimEnd().split('\n')).toEqual([
      expect.stringMatching(/^backend sim-js: /),
      ...errorOf('slow', 'read of 1 at pio 0x41', '1'),
    ]);
  });

  it('is named where it is none of an access', async () => {
    const cwd = machine(END, 'reset: use(Reset), exit: use(Exit)');
    const { code, stderr } = await trapline(['run', 'm.ts', '--quiet', '--handler-timeout', '1'], { cwd });
    expect({ code, lines: stderr.trimEnd().split('\n') }).toEqual({
      code: 1,
      lines: errorOf('reset', 'onReset', '1'),
    });
  });

  it('is not warned of with --quiet', async () => {
    const cwd = machine("cpu.read('pio', 0x41, 1);");
    const { code, stderr } = await trapline(['run', 'm.ts', '--quiet', '--handler-timeout', '2'], { cwd });
    expect({ code, lines: stderr.trimEnd().split('\n') }).toEqual({
      code: 1,
      lines: errorOf('slow', 'read of 1 at pio 0x41', '2'),
    });
  });
});

describe.skipIf(!addon)('addon: a handler that is only slow', () => {
  it.each([
    ['by default', []],
    ['without a limit', ['--handler-timeout', '0']],
  ])('gets one warning, and the machine goes on: %s', async (_name, options) => {
    const cwd = machine(`cpu.write('pio', 0x40, 1, 25); cpu.write('pio', 0x40, 1, 1); ${END}`);
    const { code, stderr } = await trapline(['run', 'm.ts', ...options], { cwd });
    expect(code).toBe(7);
    expect(stderr.match(/^warn .*/gm)).toEqual([
      expect.stringMatching(/^warn slow: write of 1 at pio 0x40 has not returned for 1\.\d s$/),
    ]);
    expect(stderr).toMatch(/^slow +0 +2 /m);
  });
});

describe.skipIf(!addon)('addon: under a debugger a handler may take its time', () => {
  const args = ['run', 'm.ts', '--quiet', '--handler-timeout', '1'];

  it('from the start', async () => {
    const cwd = machine(`cpu.write('pio', 0x40, 1, 20); ${END}`);
    const { code, stderr } = await execute([process.execPath, '--inspect=0', BIN, ...args], { cwd });
    expect(code).toBe(7);
    expect(stderr).toContain('Debugger listening');
    expect(stderr).not.toContain('error');
  });

  it('that came later', async () => {
    const script = `const { url } = await import('node:inspector');
      process.kill(process.pid, 'SIGUSR1');
      while (!url()) await cpu.sleep(20);
      await cpu.sleep(800);
      cpu.write('pio', 0x40, 1, 20); ${END}`;
    const command = [process.execPath, '--inspect-port=0', BIN, ...args];
    const { code, stderr } = await execute(command, { cwd: machine(script) });
    expect(code).toBe(7);
    expect(stderr).not.toContain('error');
  });
});

describe.skipIf(!hasTerminals)('pty: the terminal', () => {
  it.skipIf(!addon)('addon: is as it was after a handler that never returned', async () => {
    const { code, text, modes } = await inTerminal('SCENARIO=stuck', '--handler-timeout 1');
    expect({ code, modes }).toEqual({ code: 1, modes: NORMAL });
    expect(text).toContain(errorOf('stuck', 'read of 1 at pio 0xf8', '1').join('\n'));
  });
});
