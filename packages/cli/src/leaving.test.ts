// Every way out of a running machine: the exit code says which, the terminal is as it was.
import { describe, expect, it } from 'vitest';
import { BIN, execute, FIXTURES, machineText, project, trapline } from '../test/cli.js';
import { hasTerminals, inTerminal, NORMAL } from '../test/terminal.js';

const FOREVER = { 'm.ts': machineText('exit: use(Exit)', 'await new Promise(() => {});') };

describe('signals', () => {
  it.each([
    ['SIGINT', 130],
    ['SIGTERM', 143],
    ['SIGHUP', 129],
  ] as const)('%s closes the machine, prints the table and exits with %d', async (signal, code) => {
    const finished = await trapline(['run', 'm.ts'], {
      cwd: project(FOREVER),
      when: ['backend sim-js', (child) => child.kill(signal)],
    });
    expect(finished).toMatchObject({ code, signal: null, stdout: '' });
    expect(finished.stderr).toMatch(/^exit +0 +0 /m);
  });

  it('a second one ends the process although closing takes its time', async () => {
    const before = `import { hostResource, Options, resourceOption } from '@trapline/core';
import { z } from 'zod';
const schema = z.object({ slow: resourceOption('slow') });
@Device({ type: 'slow', summary: 'closes slowly', options: schema })
class Slow { constructor(readonly options: Options<z.output<typeof schema>>) {} }
const slow = hostResource('slow()', () => 1, () => { process.stderr.write('closing\\n'); return new Promise(() => {}); });`;
    const text = machineText('s: use(Slow, { slow })', 'await new Promise(() => {});', before);
    const started = Date.now();
    const { code } = await trapline(['run', 'm.ts'], {
      cwd: project({ 'm.ts': text }),
      when: [
        'backend sim-js',
        (child) => {
          child.kill('SIGINT');
          child.stderr?.on('data', (data) => String(data).includes('closing') && child.kill('SIGINT'));
        },
      ],
    });
    expect(code).toBe(130);
    expect(Date.now() - started).toBeLessThan(4500);
  });

  it('a machine that does not close in time is left behind, by name', async () => {
    const before = `import { hostResource, Options, resourceOption } from '@trapline/core';
import { z } from 'zod';
const schema = z.object({ slow: resourceOption('slow') });
@Device({ type: 'slow', summary: 'closes slowly', options: schema })
class Slow { constructor(readonly options: Options<z.output<typeof schema>>) {} }
const slow = hostResource('slow()', () => 1, () => new Promise(() => {}));`;
    const text = machineText('s: use(Slow, { slow }), exit: use(Exit)', "cpu.write('pio', 0xf4, 1, 3);", before);
    const { code, stderr } = await trapline(['run', 'm.ts', '--quiet'], { cwd: project({ 'm.ts': text }) });
    expect(code).toBe(3);
    expect(stderr).toMatch(
      /^error\[TL_DEADLINE\] machine: did not close within 5000 ms; the process ends without it\n/,
    );
  });
});

describe('errors nobody caught', () => {
  it.each([
    ['throw', 'setTimeout(() => { throw new RangeError("boom"); }); await new Promise(() => {});', 'RangeError: boom'],
    ['reject', 'void Promise.reject(new Error("boom")); await new Promise(() => {});', 'boom'],
  ])('%s: one line, the machine is closed, exit code 1', async (_name, script, what) => {
    const cwd = project({ 'm.ts': machineText('exit: use(Exit)', script) });
    const { code, stderr } = await trapline(['run', 'm.ts', '--quiet'], { cwd });
    expect({ code, lines: stderr.trimEnd().split('\n') }).toEqual({
      code: 1,
      lines: [
        `error[TL_INTERNAL] ${what}`,
        'fix: run again with --debug; if the stack shows no code of yours, report it',
      ],
    });
  });

  it('shows where in the TypeScript it was, with --debug', async () => {
    const text = machineText(
      'exit: use(Exit)',
      '\n\ninterface Shape { a: 1 }\nconst f = (): Shape => { throw new Error("boom"); };\nf();',
    );
    const line = text.split('\n').findIndex((row) => row.includes('throw')) + 1;
    const cwd = project({ 'm.ts': text });
    const { code, stderr } = await trapline(['run', 'm.ts', '--debug'], { cwd });
    expect(code).toBe(1);
    expect(stderr).toMatch(/^error\[TL_BACKEND_FAILED\] sim-js: the script of vCPU 0 threw: boom$/m);
    expect(stderr).toContain(`m.ts:${line}:`);
  });
});

describe('the console', () => {
  const machine = `${FIXTURES}/console-machine.ts`;

  it('gets what --input says, then the end of input', async () => {
    const finished = await trapline(['run', machine, '--input', 'hi there', '--quiet'], { keepOpen: true });
    expect(finished).toMatchObject({ code: 0, stdout: 'ready\nhi there', stderr: '' });
  });

  it('gets standard input where that is no terminal, then its end', async () => {
    expect(await trapline(['run', machine, '--quiet'], { input: 'abc' })).toMatchObject({
      code: 0,
      stdout: 'ready\nabc',
      stderr: '',
    });
    expect(await trapline(['run', machine, '--quiet'])).toMatchObject({ code: 0, stdout: 'ready\n', stderr: '' });
  });

  it('gives up a standard input that is open and silent; --input - does not', async () => {
    const { code, stdout, stderr } = await trapline(['run', machine], { keepOpen: true });
    expect({ code, stdout }).toEqual({ code: 0, stdout: 'ready\n' });
    expect(stderr).toContain('standard input was silent for 2 s: end of input (--input - waits for it)\n');
    const patient = await trapline(['run', machine, '--input', '-', '--quiet'], {
      keepOpen: true,
      when: ['ready', (child) => setTimeout(() => child.stdin?.write('late!'), 2500)],
    });
    expect(patient).toMatchObject({ code: 9, stdout: 'ready\nlate' });
  });
});

describe.skipIf(!hasTerminals)('pty: the terminal', () => {
  it("is the guest's, Ctrl-C included, until Ctrl-A x leaves", async () => {
    const { code, text, modes } = await inTerminal('', '', 'ab\x03', '\x01x');
    expect({ code, modes }).toEqual({ code: 0, modes: NORMAL });
    expect(text).toContain("the terminal is the guest's console: Ctrl-A x leaves");
    expect(text).toContain('ab^C');
  });

  it.each([
    ['the guest exits', '', '!', 9],
    ['an error nobody caught', 'SCENARIO=throw', '', 1],
    ['a rejection nobody handled', 'SCENARIO=reject', '', 1],
    ['SIGTERM', 'SCENARIO=term', '', 143],
  ])('is as it was after: %s', async (_name, env, keys, expected) => {
    const { code, modes } = await inTerminal(env, '--quiet', keys);
    expect({ code, modes }).toEqual({ code: expected, modes: NORMAL });
  });

  it('Ctrl-C leaves with 130 where the guest does not have the terminal', async () => {
    // No shell in between: some die of the Ctrl-C that they share with the command.
    const { code, stdout } = await execute(
      ['script', '-qec', `exec '${process.execPath}' '${BIN}' run m.ts`, '/dev/null'],
      {
        cwd: project(FOREVER),
        keepOpen: true,
        when: ['backend sim-js', (child) => setTimeout(() => child.stdin?.write('\x03'), 100)],
      },
    );
    expect(code).toBe(130);
    expect(stdout).toMatch(/^exit +0 +0 /m);
  });
});
