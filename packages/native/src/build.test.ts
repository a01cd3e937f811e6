import { spawnSync } from 'node:child_process';
import { chmodSync, cpSync, existsSync, mkdtempSync, readFileSync, rmSync, symlinkSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { afterAll, beforeEach, describe, expect, it } from 'vitest';

const home = fileURLToPath(new URL('..', import.meta.url));
let folder = '';
const folders: string[] = [];

/** Runs a copy of the build script in a folder of its own. */
function build(env: Record<string, string>) {
  const { TRAPLINE_NATIVE, TRAPLINE_PLATFORM, TRAPLINE_NO_COMPILER, CXX, ...rest } = process.env;
  const result = spawnSync(process.execPath, [join(folder, 'build.mjs')], {
    cwd: folder,
    encoding: 'utf8',
    env: { ...rest, TRAPLINE_PLATFORM: 'linux', ...env },
  });
  return { status: result.status, stdout: result.stdout, lines: result.stderr.split('\n').slice(0, -1) };
}

/** A compiler that answers `--version` and otherwise does what `script` says. */
function compiler(script: string): string {
  const path = join(folder, 'fake-c++');
  writeFileSync(path, `#!/bin/sh\nif [ "$1" = --version ]; then echo fake 1.0; exit 0; fi\n${script}\n`);
  chmodSync(path, 0o755);
  return path;
}
/** Puts something where the output belongs, and counts how often it links. */
const WORKS = `case "$*" in *-shared*) echo run >> "$0.runs";; esac
while [ $# -gt 0 ]; do if [ "$1" = -o ]; then echo built > "$2"; fi; shift; done`;
const runs = () => readFileSync(join(folder, 'fake-c++.runs'), 'utf8').split('\n').length - 1;

beforeEach(() => {
  folder = mkdtempSync(join(tmpdir(), 'trapline-test-'));
  folders.push(folder);
  for (const name of ['build.mjs', 'compiler.mjs']) cpSync(join(home, name), join(folder, name));
  cpSync(join(home, 'src', 'native'), join(folder, 'src', 'native'), { recursive: true });
  symlinkSync(join(home, 'node_modules'), join(folder, 'node_modules'), 'junction');
});
afterAll(() => {
  for (const made of folders) rmSync(made, { recursive: true, force: true });
});

describe('the build script', () => {
  it('goes on without a compiler and says in one line what that costs', () => {
    const { status, stdout, lines } = build({ TRAPLINE_NO_COMPILER: '1' });
    expect({ status, stdout }).toEqual({ status: 0, stdout: '' });
    expect(lines).toEqual([
      'native: no C++ compiler found ($CXX, c++, g++, clang++): KVM and the fast path stay off; ' +
        'install one (Debian: apt install g++) and run npm start again',
    ]);
  });

  it('fails without one where the addon is required', () => {
    expect(build({ TRAPLINE_NO_COMPILER: '1', TRAPLINE_NATIVE: 'required' }).status).toBe(1);
  });

  it.each(['darwin', 'win32'])('does nothing on %s', (platform) => {
    const { status, lines } = build({ TRAPLINE_PLATFORM: platform });
    expect(status).toBe(0);
    expect(lines).toEqual([
      `native: not built on ${platform}: KVM and the fast path need Linux; everything else works`,
    ]);
    expect(existsSync(join(folder, 'build'))).toBe(false);
  });
});

describe.skipIf(process.platform === 'win32' || process.arch !== 'x64')('the build script with a compiler', () => {
  it('compiles once, and again after a change', () => {
    const CXX = compiler(WORKS);
    expect(build({ CXX })).toEqual({ status: 0, stdout: '', lines: [] });
    expect(readFileSync(join(folder, 'build', 'trapline_native.node'), 'utf8')).toBe('built\n');
    expect(build({ CXX }).status).toBe(0);
    expect(runs()).toBe(1);
    writeFileSync(join(folder, 'src', 'native', 'spin.h'), '// changed');
    build({ CXX });
    expect(runs()).toBe(2);
    rmSync(join(folder, 'build', 'trapline_native.node'));
    build({ CXX });
    expect(runs()).toBe(3);
  });

  it('takes a compiler with arguments', () => {
    const CXX = `${compiler(WORKS)} --verbose`;
    // `--version` is not the first argument then, so the stand-in compiles; that is answer enough.
    expect(build({ CXX }).status).toBe(0);
  });

  it('says what went wrong, leaves a log and goes on', () => {
    const CXX = compiler('echo first; echo "x.cc:1:2: error: no such thing" >&2; echo "y.cc: error: more" >&2; exit 1');
    const { status, lines } = build({ CXX });
    expect(status).toBe(0);
    expect(lines).toEqual([
      'native: x.cc:1:2: error: no such thing',
      'native: the addon did not compile, so KVM and the fast path stay off; see build/build.log',
    ]);
    expect(readFileSync(join(folder, 'build', 'build.log'), 'utf8')).toContain('y.cc: error: more');
    expect(existsSync(join(folder, 'build', 'trapline_native.node'))).toBe(false);
    expect(build({ CXX, TRAPLINE_NATIVE: 'required' }).status).toBe(1);
  });
});
