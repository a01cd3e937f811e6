import { existsSync, readFileSync } from 'node:fs';
import { join } from 'node:path';
import { describe, expect, it } from 'vitest';
import { execute, project, trapline } from '../test/cli.js';
import { install, ROOT } from '../test/stage.js';
import { nameDevice } from './new-device.js';

/** What a new package and ours need of others. */
const PACKAGES = [
  ...['vite', 'vitest', 'typescript', '@types/node', 'zod', '@oxc-project/runtime'],
  ...['reflect-metadata', 'tsyringe', 'eventemitter3', 'fast-check'],
];

describe('nameDevice', () => {
  it('writes a name in every way it is needed', () => {
    expect(nameDevice('@acme/fast-timer2')).toEqual({
      package: '@acme/fast-timer2',
      device: 'fast-timer2',
      className: 'FastTimer2',
      constant: 'FAST_TIMER2',
    });
  });

  it.each(['', 'Timer', '2fast', 'a--b', 'a-', 'a b', '../up', '@acme/', 'device', 'spec'])('refuses %j', (name) => {
    expect(() => nameDevice(name)).toThrow(expect.objectContaining({ code: 'TL_USAGE' }) as Error);
  });
});

describe('trapline new device', () => {
  it('writes a package that passes its own test, its own check, its compiler, and runs', async () => {
    const cwd = project({});
    const written = await trapline(['new', 'device', '@acme/fast-timer'], { cwd });
    expect(written).toMatchObject({ code: 0, stderr: '' });
    expect(written.stdout).toContain('  fast-timer/src/fast-timer.ts\n');
    const folder = join(cwd, 'fast-timer');
    for (const file of [
      'package.json',
      'README.md',
      'machine.ts',
      '.gitignore',
      'src/spec.ts',
      'src/fast-timer.test.ts',
    ]) {
      expect(existsSync(join(folder, file)), file).toBe(true);
    }
    expect(readFileSync(join(folder, 'src/fast-timer.ts'), 'utf8')).toContain('export class FastTimer {');
    expect(await trapline(['check', 'machine.ts'], { cwd: folder })).toMatchObject({
      code: 0,
      stdout: 'ok: 2 devices, 2 ranges, 1 line\n',
      stderr: '',
    });
    expect(await trapline(['run', 'machine.ts', '--quiet'], { cwd: folder })).toMatchObject({ code: 0, stderr: '' });
    const described = await trapline(['devices', 'fast-timer'], { cwd: folder });
    expect(described.stdout).toMatch(/^fast-timer \(@acme\/fast-timer\): programmable timer\n/);
    install(folder, ['core', 'devices-pc'], PACKAGES);
    const bin = (name: string) => [process.execPath, join('node_modules', name)];
    const tests = await execute([...bin('vitest/vitest.mjs'), 'run'], { cwd: folder });
    expect(tests.code, tests.stdout + tests.stderr).toBe(0);
    // The types of the sources stand in for those of the compiled packages, which are not built here.
    const types = await execute(
      [...bin('typescript/bin/tsc'), '-p', '.', '--noEmit', '--customConditions', 'trapline-src', '--types', 'node'],
      {
        cwd: folder,
      },
    );
    expect(types).toMatchObject({ code: 0, stdout: '' });
  }, 60_000);

  it('has the versions this workspace has', () => {
    const read = (path: string) => readFileSync(join(ROOT, path), 'utf8');
    const template = JSON.parse(read('packages/cli/template/device/package.template.json')) as Record<
      'dependencies' | 'devDependencies',
      Record<string, string>
    >;
    const { devDependencies } = JSON.parse(read('package.json')) as { devDependencies: Record<string, string> };
    for (const name of ['typescript', 'vite', 'vitest', '@types/node']) {
      expect(template.devDependencies[name], name).toBe(devDependencies[name]);
    }
    expect(read('pnpm-workspace.yaml')).toContain(`zod: ${template.dependencies.zod?.replace('^', '')}\n`);
  });

  it('writes where --dir says, and never over what is there', async () => {
    const cwd = project({ 'mine/notes.txt': 'mine' });
    expect(await trapline(['new', 'device', 'mine'], { cwd })).toMatchObject({
      code: 2,
      stdout: '',
      stderr:
        'error[TL_USAGE] trapline new: mine exists and is not empty\nfix: choose another folder with --dir, or remove it\n',
    });
    expect(await trapline(['new', 'device', 'mine', '--dir', 'a/b'], { cwd })).toMatchObject({ code: 0 });
    expect(existsSync(join(cwd, 'a/b/src/mine.ts'))).toBe(true);
  });

  it.each([
    [['new', 'device', 'Timer!'], 'Timer! is no name for a device'],
    [['new', 'device', 'clock'], 'clock has another meaning in the package'],
    [['new', 'machine', 'x'], 'does not know how to write a machine'],
    [['new', 'device'], 'NAME is missing'],
  ])('%j', async (args, what) => {
    const cwd = project({});
    expect(await trapline(args, { cwd })).toMatchObject({ code: 2, first: `error[TL_USAGE] trapline new: ${what}` });
  });
});
