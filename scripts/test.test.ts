import { execFile } from 'node:child_process';
import { fileURLToPath } from 'node:url';
import { describe, expect, it } from 'vitest';

const script = fileURLToPath(new URL('test.mjs', import.meta.url));

/** `npm test` on one of the fixtures: exit code and the lines on stdout. */
function npmTest(...args: string[]): Promise<{ code: number; lines: string[] }> {
  const env = { ...process.env, VITEST: undefined, NO_COLOR: '1', TRAPLINE_TEST_FIXTURES: '1' };
  return new Promise((resolve) => {
    execFile(process.execPath, [script, ...args], { env }, (error, stdout) =>
      resolve({ code: Number(error?.code ?? 0), lines: stdout.trimEnd().split('\n') }),
    );
  });
}

describe('npm test', { timeout: 60_000 }, () => {
  it('ends with one line of figures', async () => {
    const { code, lines } = await npmTest('outcomes/passes');
    expect(code).toBe(0);
    expect(lines.at(-1)).toBe('2 passed, 0 failed, 0 skipped');
  });

  it('fails on a test that is skipped and not on the list, and names it', async () => {
    const { code, lines } = await npmTest('outcomes/skips');
    expect(code).toBe(1);
    const file = 'scripts/fixtures/outcomes/skips.test.ts';
    expect(lines).toContain(
      `not allowed to skip: ${file} > group > is left out: it is not in scripts/allowed-skips.json`,
    );
    expect(lines).toContain(
      `not allowed to skip: ${file} > group > is to come: it is not in scripts/allowed-skips.json`,
    );
    expect(lines.at(-1)).toBe('1 passed, 2 failed, 0 skipped');
  });

  it('lets a test be chosen by name', async () => {
    const { code, lines } = await npmTest('outcomes/skips', '-t', 'runs');
    expect(code).toBe(0);
    expect(lines.at(-1)).toBe('1 passed, 0 failed, 2 skipped');
  });

  it('counts a file that does not load as a failure', async () => {
    const { code, lines } = await npmTest('outcomes/fails', 'outcomes/does-not-load');
    expect(code).toBe(1);
    expect(lines.at(-1)).toBe('0 passed, 2 failed, 0 skipped');
  });

  it('counts no test at all as a failure', async () => {
    const { code, lines } = await npmTest('outcomes/nothing-is-called-this');
    expect(code).toBe(1);
    expect(lines.at(-1)).toBe('0 passed, 1 failed, 0 skipped');
  });
});
