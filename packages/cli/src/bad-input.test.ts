// Whatever is wrong: one clear line that names the culprit, a line that says what to do, and no more.
import { spawnSync } from 'node:child_process';
import { accessSync, chmodSync, constants, existsSync, mkdirSync } from 'node:fs';
import { join } from 'node:path';
import { loadNative } from '@trapline/native';
import { describe, expect, it } from 'vitest';
import { BIN, FIXTURES, type Finished, machineText, project, trapline } from '../test/cli.js';

/** The two lines of an error, and the exit code. */
function twoLines({ code, stdout, stderr }: Finished): { code: number | null; stdout: string; lines: string[] } {
  return { code, stdout, lines: stderr.trimEnd().split('\n') };
}

/** Several commands on one machine file, at the same time. */
function all(commands: readonly string[], cwd: string): Promise<Finished[]> {
  return Promise.all(commands.map((command) => trapline([command, 'm.ts'], { cwd })));
}

const isRoot = process.getuid?.() === 0;
/** Runs what follows without root's powers, where we have them. */
const UNPRIVILEGED = ['setpriv', '--reuid', '65534', '--regid', '65534', '--clear-groups'];
/** Root that obeys permissions: enters its own folders, wherever the clone is, and reads no file of mode 0. */
const BOUND = ['setpriv', '--bounding-set', '-dac_override,-dac_read_search'];
/** May another user run the command from this clone? */
const othersMayEnter = !isRoot || spawnSync('setpriv', [...UNPRIVILEGED.slice(1), 'test', '-r', BIN]).status === 0;

describe('bad input: the command line', () => {
  it.each([
    [['runn'], 'trapline: unknown command runn', 'did you mean run? the commands are: run, check, map, devices, new'],
    [['--versoin'], 'trapline: unknown option --versoin', 'the commands are: run, check, map, devices, new'],
    [
      ['run', 'machine.ts', '--bakend', 'kvm'],
      'trapline run: unknown option --bakend',
      'did you mean --backend? see trapline run --help',
    ],
    [['run', 'machine.ts', '--backend'], 'trapline run: --backend needs a value', 'write --backend NAME'],
    [
      ['run', 'machine.ts', '--input', '--quiet'],
      'trapline run: --input needs a value',
      'write --input TEXT, or --input=--quiet if that is the value',
    ],
    [['run', 'machine.ts', '--quiet=1'], 'trapline run: --quiet takes no value', 'see trapline run --help'],
    [['run'], 'trapline run: FILE is missing', 'write: trapline run FILE [options]'],
    [
      ['check', 'machine.ts', 'other.ts'],
      'trapline check: does not know what to do with other.ts',
      'write: trapline check FILE [options]',
    ],
    [
      ['run', 'machine.ts', '--trace', 'com1'],
      'trapline run: cannot trace com1',
      'use words joined by commas: a device (latch, exit), pio, mmio, read, write, an address like 0x3f8-0x3ff, all',
    ],
  ])('%j', async (args, what, fix) => {
    expect(twoLines(await trapline(args))).toEqual({
      code: 2,
      stdout: '',
      lines: [`error[TL_USAGE] ${what}`, `fix: ${fix}`],
    });
  });

  it('a backend nobody knows', async () => {
    const { code, first } = await trapline(['run', 'machine.ts', '--backend', 'qemu']);
    expect({ code, first }).toEqual({ code: 1, first: 'error[TL_BACKEND_UNKNOWN] backend: there is no backend qemu' });
  });
});

describe('bad input: the machine file', () => {
  it.each([
    ['no such file', {}, 'm.ts: there is no such file'],
    ['no default export', { 'm.ts': 'export const machine = 1;' }, 'm.ts: it has no default export'],
    ['no machine', { 'm.ts': 'export default 1;' }, 'm.ts: its default export is no machine'],
    ['throws', { 'm.ts': "throw new Error('boom');" }, 'm.ts: threw while it was imported: boom'],
    ['throws no error', { 'm.ts': 'throw undefined;' }, 'm.ts: threw while it was imported: undefined'],
    ['missing package', { 'm.ts': "import 'left-pad-9';" }, 'm.ts: cannot find left-pad-9, imported by FOLDER/m.ts'],
    ['missing file', { 'm.ts': "import './uart.js';" }, 'm.ts: cannot find FOLDER/uart.js, imported by FOLDER/m.ts'],
    [
      'bad syntax',
      { 'm.ts': 'const a = 1;\nconst b = ;\n' },
      'm.ts: cannot be compiled: FOLDER/m.ts:2:11: Unexpected token',
    ],
  ])('%s', async (_name, files, what) => {
    const cwd = project(files);
    for (const finished of await all(['run', 'check', 'map'], cwd)) {
      const { code, stdout, lines } = twoLines(finished);
      expect({ code, stdout, first: lines[0] }).toEqual({
        code: 1,
        stdout: '',
        first: `error[TL_MACHINE_FILE] ${what.replaceAll('FOLDER', cwd)}`,
      });
      expect(lines[1]).toMatch(/^fix: ./);
      expect(lines).toHaveLength(2);
    }
  });

  it('a folder', async () => {
    const cwd = project({});
    mkdirSync(join(cwd, 'm.ts'));
    expect((await trapline(['check', 'm.ts'], { cwd })).first).toBe('error[TL_MACHINE_FILE] m.ts: this is a folder');
  });

  it('a type imported as a value', async () => {
    const cwd = project({
      'm.ts': "import { Shape } from './shape.js'; export default Shape;",
      'shape.ts': 'export interface Shape { a: 1 }',
    });
    const { lines } = twoLines(await trapline(['check', 'm.ts'], { cwd }));
    expect(lines[0]).toMatch(/^error\[TL_MACHINE_FILE\] m\.ts: .*does not provide an export named 'Shape'$/);
    expect(lines[1]).toBe('fix: check its spelling; if Shape is a type, write: import { type Shape }');
  });

  it.skipIf(!isRoot && process.platform === 'win32')('without permission to read it', async () => {
    const cwd = project({ 'm.ts': 'export default 1;' });
    chmodSync(cwd, 0o755);
    chmodSync(join(cwd, 'm.ts'), 0);
    const finished = await trapline(['check', 'm.ts'], { cwd, prefix: isRoot ? BOUND : [] });
    expect(twoLines(finished)).toEqual({
      code: 1,
      stdout: '',
      lines: ['error[TL_MACHINE_FILE] m.ts: cannot be read: permission denied', 'fix: make it readable: chmod +r'],
    });
  });
});

describe('bad input: ranges', () => {
  it.each([
    [
      'a range past 64 K ports',
      'exit: use(Exit, { at: pio(0x10000) })',
      '[TL_RANGE] exit: pio 0x10000 leaves the 64 K ports',
    ],
    ['overlapping ranges', 'a: use(Exit), b: use(Exit)', '[TL_RANGE_OVERLAP] b: pio 0xf4 overlaps a at pio 0xf4'],
  ])('%s', async (_name, devices, what) => {
    const cwd = project({ 'm.ts': machineText(devices) });
    for (const { code, stderr } of await all(['run', 'check', 'map'], cwd)) {
      expect({ code, first: stderr.split('\n').find((line) => line.startsWith('error')) }).toEqual({
        code: 1,
        first: `error${what}`,
      });
    }
  });
});

describe('bad input: a plugin that misbehaves costs itself, not the machine', () => {
  const bad = (body: string, atBirth = '') => `@Device({ type: 'bad', summary: 'misbehaves' })
@Pio({ base: 0x200, size: 4 })
class Bad {
  constructor() { ${atBirth} }
  read(offset: number, size: number): number { ${body} }
  write() {}
}`;
  const survive = "const value = cpu.read('pio', 0x200, 2); cpu.write('pio', 0xf4, 1, value === 0xffff ? 42 : 1);";

  it.each([
    [
      'throws in its handler',
      bad("throw new Error('boom');"),
      '[TL_DEVICE_HANDLER] bad: read of 2 at offset 0x0: threw boom',
    ],
    ['returns garbage', bad("return 'garbage' as never;"), '[TL_DEVICE_VALUE] bad: read of 2 at offset 0x0: '],
    [
      'returns a promise',
      bad('return Promise.resolve(1) as never;'),
      '[TL_DEVICE_VALUE] bad: read of 2 at offset 0x0: ',
    ],
    [
      'throws in its constructor',
      bad('return 0;', "throw new TypeError('nope');"),
      '[TL_DEVICE_CONSTRUCTOR] bad: the constructor of Bad threw: nope',
    ],
  ])('%s', async (_name, before, what) => {
    const cwd = project({ 'm.ts': machineText('bad: use(Bad), exit: use(Exit)', survive, before) });
    const { code, stdout, stderr } = await trapline(['run', 'm.ts', '--quiet'], { cwd });
    const lines = stderr.trimEnd().split('\n');
    expect({ code, stdout, count: lines.length }).toEqual({ code: 42, stdout: '', count: 2 });
    expect(lines[0]).toContain(`error${what}`);
    expect(lines[1]).toMatch(/^fix: /);
  });

  it('a constructor that throws is a problem of the machine before it runs', async () => {
    const text = machineText('bad: use(Bad), exit: use(Exit)', survive, bad('return 0;', "throw new Error('nope');"));
    const { code, first } = await trapline(['check', 'm.ts'], { cwd: project({ 'm.ts': text }) });
    expect({ code, first }).toEqual({
      code: 1,
      first: 'error[TL_DEVICE_CONSTRUCTOR] bad: the constructor of Bad threw: nope',
    });
  });

  it('a script that throws ends its machine', async () => {
    const text = machineText('exit: use(Exit)', "throw new Error('lost');");
    const { code, stderr } = await trapline(['run', 'm.ts', '--quiet'], { cwd: project({ 'm.ts': text }) });
    expect({ code, first: stderr.split('\n', 1)[0] }).toEqual({
      code: 1,
      first: 'error[TL_BACKEND_FAILED] sim-js: the script of vCPU 0 threw: lost',
    });
  });
});

describe('bad input: /dev/kvm', () => {
  const openable = (() => {
    try {
      accessSync('/dev/kvm', constants.R_OK | constants.W_OK);
      return true;
    } catch {
      return false;
    }
  })();
  const flat = `import { defineMachine } from '@trapline/core';
export default defineMachine({
  memory: '1M',
  devices: {},
  guest: { kind: 'flat', address: 0x1000, image: () => Uint8Array.of(0xf4) },
});`;

  it.skipIf(!othersMayEnter)('without permission, says what to do', async () => {
    const cwd = project({ 'm.ts': flat });
    chmodSync(cwd, 0o755);
    const prefix = isRoot && openable ? UNPRIVILEGED : [];
    const { code, first, stderr } = await trapline(['run', 'm.ts', '--backend', 'kvm', '--quiet'], { cwd, prefix });
    expect(code).toBe(1);
    if (existsSync('/dev/kvm') && loadNative().addon && (isRoot || !openable)) {
      expect(first).toBe('error[TL_BACKEND_UNAVAILABLE] kvm: no permission to open /dev/kvm');
      expect(stderr.split('\n')[1]).toMatch(/^fix: sudo usermod -aG kvm \$USER and log in again/);
    } else expect(first).toMatch(/^error\[TL_BACKEND_UNAVAILABLE\] kvm: /);
  });
});

describe('bad input: plugins', () => {
  const plugin = (name: string, type: string) => `import { Device, definePlugin } from '@trapline/core';
@Device({ type: '${type}', summary: '${name}' }) class A {}
export const plugin = definePlugin({ name: '${name}', devices: [A] });`;

  it.each([
    ['no such file', './none.ts', '[TL_PLUGIN] ./none.ts: there is no such file'],
    ['no such package', 'left-pad-9', '[TL_PLUGIN] left-pad-9: there is no such file or package'],
    ['no plugin export', './empty.ts', '[TL_PLUGIN] FOLDER/empty.ts: it has no export named plugin'],
    ['another thing exported', './other.ts', '[TL_PLUGIN] FOLDER/other.ts: its export plugin is no plugin'],
    ['throws', './throws.ts', '[TL_PLUGIN] FOLDER/throws.ts: threw while it was imported: boom'],
    [
      'another plugin API',
      './next.ts',
      '[TL_PLUGIN_VERSION] FOLDER/next.ts: next was made for plugin API 99, this Trapline has 1',
    ],
  ])('%s', async (_name, file, what) => {
    const cwd = project({
      'empty.ts': 'export {};',
      'other.ts': 'export const plugin = 1;',
      'throws.ts': "throw new Error('boom');",
      'next.ts': `${plugin('next', 'n').replace('export const plugin = ', 'const old = ')} export const plugin = { ...old, api: 99 };`,
    });
    const first = `error${what.replaceAll('FOLDER', cwd)}`;
    expect(await trapline(['devices', '--plugin', file], { cwd })).toMatchObject({ code: 1, stdout: '', first });
    expect(await trapline(['run', `${FIXTURES}/machine.ts`, '--plugin', file], { cwd })).toMatchObject({ code: 1 });
  });

  it('one type of two plugins is refused with both paths', async () => {
    const cwd = project({ 'a.ts': plugin('a', 'twice'), 'b.ts': plugin('b', 'twice') });
    expect(await trapline(['devices', '--plugin', 'a.ts', '--plugin', 'b.ts'], { cwd })).toMatchObject({
      code: 1,
      first: `error[TL_DUPLICATE_TYPE] twice: device type declared by ${cwd}/a.ts and by ${cwd}/b.ts`,
    });
  });

  it('a broken one that only a package.json names is reported, and the rest goes on', async () => {
    const cwd = project({
      'package.json': { name: 'app', dependencies: { good: '1', bad: '1', plain: '1' } },
      'node_modules/good/package.json': { name: 'good', trapline: { plugin: './dist/plugin.mjs' } },
      'node_modules/good/dist/plugin.mjs': plugin('good', 'good').replace(
        /@Device.*\n/,
        'class A {} Device({ type: "good", summary: "is found" })(A);\n',
      ),
      'node_modules/bad/package.json': { name: 'bad', trapline: { plugin: './dist/plugin.js' } },
      'node_modules/plain/package.json': { name: 'plain' },
      'machine.ts': machineText('exit: use(Exit)'),
    });
    const first = `error[TL_PLUGIN] bad: ${cwd}/node_modules/bad/dist/plugin.js does not exist`;
    const listed = await trapline(['devices'], { cwd });
    expect(listed).toMatchObject({ code: 1, first });
    expect(listed.stdout).toMatch(/^good +good +is found$/m);
    expect(listed.stdout).toMatch(/^uart16550 /m);
    expect(await trapline(['check', 'machine.ts'], { cwd })).toMatchObject({ code: 1, stdout: '', first });
    expect(await trapline(['run', 'machine.ts'], { cwd })).toMatchObject({ code: 0, first });
  });
});
