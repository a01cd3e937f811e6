import { setTimeout as sleep } from 'node:timers/promises';
import { afterEach, beforeEach, describe, expect, it } from 'vitest';
import { Clone } from './clone.js';

let clone: Clone;
beforeEach(() => {
  clone = new Clone();
});
afterEach(() => clone.remove());

async function until(condition: () => boolean): Promise<void> {
  while (!condition()) await sleep(10);
}

describe('set-up', () => {
  it('installs once, by the pinned pnpm, and says so on stderr only', async () => {
    const first = await clone.setUp();
    expect(first).toMatchObject({ code: 0, stdout: '' });
    expect(first.stderr).toMatch(/^set-up: installing packages\nset-up: done in [\d.]+ s\n$/);
    expect(clone.calls).toEqual([expect.stringMatching(/^--yes pnpm@1\.2\.3 install --frozen-lockfile /)]);

    const began = performance.now();
    expect(await clone.setUp()).toMatchObject({ code: 0, stdout: '', stderr: '' });
    console.log(`an up-to-date set-up takes ${Math.round(performance.now() - began)} ms`);
    expect(clone.calls).toHaveLength(1);
  });

  it.each(['pnpm-lock.yaml', 'pnpm-workspace.yaml', '.npmrc', 'packages/core/package.json'])(
    'installs again when %s changed',
    async (path) => {
      await clone.setUp();
      clone.write(path, '{ "changed": true }');
      await clone.setUp();
      expect(clone.calls).toHaveLength(2);
    },
  );

  it('takes over what `npm install` left, and its lock file', async () => {
    clone.write('node_modules/.package-lock.json', '{}');
    clone.write('node_modules/vitest/index.js', '');
    clone.write('package-lock.json', '{}');
    expect(await clone.setUp()).toMatchObject({ code: 0 });
    expect(['node_modules/vitest', 'package-lock.json'].map((path) => clone.has(path))).toEqual([false, false]);
    // And when npm comes second, over a set-up that was complete.
    clone.write('node_modules/.package-lock.json', '{}');
    await clone.setUp();
    expect(clone.calls).toHaveLength(2);
    expect(clone.has('node_modules/.package-lock.json')).toBe(false);
  });

  it('does nothing as a script of pnpm, which may be its own child', async () => {
    await clone.setUp({ npm_lifecycle_event: 'postinstall', npm_config_user_agent: 'pnpm/10.0.0 npm/? node/v20' });
    expect(clone.calls).toEqual([]);
    await clone.setUp({ npm_lifecycle_event: 'postinstall', npm_config_user_agent: 'npm/11.0.0 node/v20' });
    expect(clone.calls).toHaveLength(1);
  });

  it('names step, log and fix in the last line of a failure, and tries again', async () => {
    const ended = await clone.setUp({ FAKE_NPX: 'npm error code ENOTFOUND' });
    expect(ended).toMatchObject({ code: 1, stdout: '' });
    expect(ended.lastLine).toBe(
      'set-up failed at "installing packages": the npm registry cannot be reached; log: .trapline/logs/install.log; ' +
        'fix: the first run needs the network once: connect, or set a proxy (npm config set https-proxy URL), and try again',
    );
    expect(clone.read('.trapline/logs/install.log')).toContain('npm error code ENOTFOUND\nexit code 1\n');
    expect(await clone.setUp()).toMatchObject({ code: 0 });
    expect(clone.calls).toHaveLength(2);
  });

  it('is as clear where there is no npx at all', async () => {
    const ended = await clone.setUp({ PATH: '' });
    expect(ended.code).toBe(1);
    expect(ended.lastLine).toMatch(/^set-up failed at "installing packages": npx was not found; .*fix: install npm/);
  });

  it('does the work once when two commands start together', async () => {
    const one = clone.setUp({ FAKE_NPX_WAITS: '1' });
    await until(() => clone.calls.length > 0);
    const two = clone.spawn('setup.mjs');
    // It says that it waits; then the first may go on.
    two.child.stderr?.once('data', () => clone.write('release', ''));
    const ended = await two.ended;
    expect(await one).toMatchObject({ code: 0 });
    expect(ended).toMatchObject({ code: 0, stdout: '' });
    expect(ended.stderr).toMatch(/^set-up: waiting for another set-up \(process \d+\)\n$/);
    expect(clone.calls).toHaveLength(1);
  });

  it('goes on after it was interrupted, and after it was killed', async () => {
    const interrupted = clone.spawn('setup.mjs', { FAKE_NPX_WAITS: '1' });
    await until(() => clone.calls.length === 1);
    interrupted.child.kill('SIGINT');
    const ended = await interrupted.ended;
    expect(ended.code).toBe(130);
    expect(ended.lastLine).toBe('set-up: interrupted; the next run goes on from here');
    expect(clone.has('.trapline/setup.lock')).toBe(false);

    const killed = clone.spawn('setup.mjs', { FAKE_NPX_WAITS: '1' });
    await until(() => clone.calls.length === 2);
    killed.child.kill('SIGKILL');
    await killed.ended;
    expect(clone.has('.trapline/setup.lock')).toBe(true);
    // The dead owner's lock is taken over, and its step is done again.
    expect(await clone.setUp()).toMatchObject({ code: 0 });
    expect(clone.calls).toHaveLength(3);
  });
});

describe('the native step', () => {
  const NOTICE = 'no C++ compiler: the kvm backend is left out; sim-js runs everything here';

  it('says what is missing in one line, each time, and does not fail', async () => {
    clone.write('packages/native/build.mjs', `console.error(${JSON.stringify(NOTICE)})`);
    const first = await clone.setUp();
    expect(first).toMatchObject({ code: 0, stdout: '' });
    expect(first.stderr.split('\n')).toContain(NOTICE);
    expect(await clone.setUp()).toMatchObject({ code: 0, stdout: '', stderr: `${NOTICE}\n` });
  });

  it('is done again for other sources and other settings only', async () => {
    clone.write(
      'packages/native/build.mjs',
      "import fs from 'node:fs'; fs.appendFileSync('built.log', '.'); fs.mkdirSync('packages/native/build', { recursive: true }); " +
        "fs.writeFileSync('packages/native/build/trapline_native.node', '');",
    );
    clone.write('packages/native/src/native/page.cc', 'int a;');
    const built = () => clone.read('built.log').length;
    await clone.setUp();
    await clone.setUp();
    expect(built()).toBe(1);
    clone.write('packages/native/src/native/page.cc', 'int b;');
    await clone.setUp();
    expect(built()).toBe(2);
    await clone.setUp({ TRAPLINE_NO_COMPILER: '1' });
    expect(built()).toBe(3);
  });

  it('fails with its own log', async () => {
    clone.write('packages/native/build.mjs', "console.error('page.cc:1: error'); process.exitCode = 1;");
    const { code, lastLine } = await clone.setUp();
    expect(code).toBe(1);
    expect(lastLine).toMatch(
      /^set-up failed at "compiling the native addon": .*; log: \.trapline\/logs\/native\.log; fix: /,
    );
  });
});
