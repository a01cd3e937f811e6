import { spawn } from 'node:child_process';
import { mkdtempSync, readFileSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { pathToFileURL } from 'node:url';
import { ROOT } from './paths.mjs';

/** @typedef {import('./outcome-reporter.mjs').Outcome} Outcome */

/**
 * Runs vitest once and tells what became of every test.
 * @param {readonly string[]} args
 * @param {{ env?: NodeJS.ProcessEnv, root?: string, stdio?: 'inherit' | 'ignore', node?: string, timeoutMs?: number }} [options]
 * @returns {Promise<{ code: number, outcome: Outcome | undefined }>} no outcome where vitest never came to its end
 */
export async function runVitest(
  args,
  { env = process.env, root = ROOT, stdio = 'inherit', node = process.execPath, timeoutMs } = {},
) {
  const folder = mkdtempSync(join(tmpdir(), 'trapline-test-'));
  const path = join(folder, 'outcome.json');
  const reporters = args.some((arg) => arg.startsWith('--reporter')) ? [] : ['--reporter=default'];
  const child = spawn(
    node,
    [
      join(ROOT, 'node_modules', 'vitest', 'vitest.mjs'),
      'run',
      ...reporters,
      `--reporter=${pathToFileURL(join(ROOT, 'scripts', 'lib', 'outcome-reporter.mjs'))}`,
      ...args,
    ],
    { cwd: root, env: { ...env, TRAPLINE_TEST_OUTCOME: path }, stdio, timeout: timeoutMs, killSignal: 'SIGKILL' },
  );
  // The terminal tells both processes of Ctrl-C; the rest is passed on, and the child's end is waited for.
  const onInterrupt = () => {};
  const onTerminate = () => child.kill('SIGTERM');
  process.on('SIGINT', onInterrupt);
  process.on('SIGTERM', onTerminate);
  const code = await new Promise((resolve) => {
    child.once('error', () => resolve(127));
    child.once('close', (status) => resolve(status ?? 1));
  });
  process.off('SIGINT', onInterrupt);
  process.off('SIGTERM', onTerminate);
  let outcome;
  try {
    outcome = JSON.parse(readFileSync(path, 'utf8'));
  } catch {}
  rmSync(folder, { recursive: true, force: true });
  return { code, outcome };
}
