import { execFile } from 'node:child_process';
import { fileURLToPath } from 'node:url';
import { promisify } from 'node:util';
import { describe, expect, it } from 'vitest';

const here = (path: string) => fileURLToPath(new URL(path, import.meta.url));

describe('mutate', () => {
  it('tells a mistake that its named test sees from all others', { timeout: 60_000 }, async () => {
    const run = promisify(execFile)(
      process.execPath,
      [here('mutate.mjs'), '--list', here('fixtures/mutate/list.json')],
      {
        env: { ...process.env, VITEST: undefined, TRAPLINE_TEST_FIXTURES: '1' },
      },
    );
    // Some survive, so it fails.
    const { stdout, code } = await run.then(
      () => ({ stdout: '', code: 0 }),
      (error) => error as { stdout: string; code: number },
    );
    expect(code).toBe(1);
    const verdicts = stdout.replaceAll(/ +[\d.]+ s {2}/g, ' ').split('\n');
    expect(verdicts).toContain('killed seen');
    expect(verdicts).toContain('SURVIVED unseen: every test passed');
    expect(verdicts).toContainEqual(expect.stringMatching(/^SURVIVED seen-by-another: only another test failed/));
    expect(verdicts).toContainEqual(expect.stringMatching(/^SURVIVED broken: the tests did not load/));
    expect(verdicts).toContainEqual(expect.stringMatching(/^SURVIVED ambiguous: "return" occurs 3 times/));
    expect(verdicts).toContainEqual(expect.stringMatching(/^SURVIVED no-such-test: no test that passes without it/));
    expect(verdicts).toContain('1 killed, 5 survived');
  });
});
