import { spawnSync } from 'node:child_process';
import { fileURLToPath } from 'node:url';
import { kvm } from '@trapline/native';
import { describe, expect, it } from 'vitest';

const BIN = fileURLToPath(new URL('../../packages/cli/bin/trapline.mjs', import.meta.url));

function launch(...args: string[]) {
  const result = spawnSync(process.execPath, [BIN, ...args], {
    cwd: fileURLToPath(new URL('.', import.meta.url)),
    encoding: 'utf8',
    stdio: ['ignore', 'pipe', 'pipe'],
    timeout: 20_000,
  });
  return { code: result.status, stdout: result.stdout.replaceAll('\r', ''), stderr: result.stderr };
}

const { available } = await kvm().probe();

describe('the example launcher', () => {
  it('is a machine without a mistake', () => {
    expect(launch('check', 'machine.ts')).toEqual({
      code: 0,
      stdout: 'ok: 3 devices, 4 ranges, 2 lines\n',
      stderr: '',
    });
  });

  const backends = [
    { backend: 'sim-js', hello: 'hello from a script', skip: false },
    { backend: 'kvm', hello: 'hello from protected mode', skip: !available },
  ];
  describe.each(backends)('$backend: the guest', ({ backend, hello, skip }) => {
    it.skipIf(skip)('runs unattended with no terminal', () => {
      const { code, stdout } = launch('run', 'machine.ts', '--backend', backend);
      expect({ code, lines: stdout.split('\n') }).toEqual({
        code: 0,
        lines: [
          `Trapline guest: ${hello}`,
          expect.stringMatching(/^hello-device says: ./),
          '40 + 2 = 42',
          'Type, and the guest echoes; an empty line or Ctrl-D ends.',
          'bye',
          '',
        ],
      });
    });

    it.skipIf(skip)('echoes what --input says, and the table tells what each device served', () => {
      const { code, stdout, stderr } = launch('run', 'machine.ts', '--backend', backend, '--input', 'hi there');
      expect(code).toBe(0);
      expect(stdout).toMatch(/\nhi there\nbye\n$/);
      expect(stderr).toMatch(/^exit +0 +1 +0 +1 /m);
      expect(stderr).toMatch(/^com1 +regs +\d+ +\d+ /m);
    });
  });
});
