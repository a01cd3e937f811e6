import { afterEach, beforeEach, describe, expect, it } from 'vitest';
import { Clone } from './clone.js';

/** What stands for the command: it tells what it was given, and ends as it is told. */
const FAKE_COMMAND = `
// Before the line that tells the test to send it.
process.once('SIGTERM', () => process.exit(9));
console.log(JSON.stringify({ args: process.argv.slice(2), script: process.argv[1], cwd: process.cwd() }));
process.stdin.on('data', (text) => {
  console.log('stdin: ' + String(text).trim());
  if (String(text).startsWith('exit')) process.exit(7);
});
`;

let clone: Clone;
beforeEach(() => {
  clone = new Clone();
  clone.write('packages/cli/bin/trapline.mjs', FAKE_COMMAND);
});
afterEach(() => clone.remove());

describe('npm start', () => {
  it('sets up, then runs the launcher with its arguments, and nothing else on stdout', async () => {
    const { child, ended } = clone.spawn('start.mjs', {}, ['--input', 'hello']);
    child.stdin?.end('exit');
    const { code, stdout, stderr } = await ended;
    expect(code).toBe(7);
    const [told, ...rest] = stdout.trimEnd().split('\n');
    expect(JSON.parse(told ?? '')).toEqual({
      args: ['run', 'examples/launcher/machine.ts', '--input', 'hello'],
      script: expect.stringMatching(/packages\/cli\/bin\/trapline\.mjs$/),
      cwd: expect.stringMatching(/a clone$/),
    });
    expect(rest).toEqual(['stdin: exit']);
    expect(stderr).toMatch(/^set-up: installing packages\nset-up: done/);
  });

  it('leaves signals to the launcher', async () => {
    const { child, ended } = clone.spawn('start.mjs');
    child.stdout?.once('data', () => child.kill('SIGTERM'));
    expect(await ended).toMatchObject({ code: 9 });
  });

  it('does not run the launcher when the set-up fails', async () => {
    const { ended } = clone.spawn('start.mjs', { FAKE_NPX: 'npm error code ENOTFOUND' });
    expect(await ended).toMatchObject({ code: 1, stdout: '' });
  });
});
