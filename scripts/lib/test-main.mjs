import { ROOT } from './paths.mjs';
import { setUpOrExit } from './setup-main.mjs';
import { allowedSkips, judgeSkips } from './skips.mjs';
import { runVitest } from './vitest.mjs';

/**
 * Sets up, runs the tests, judges the skipped ones. The last line is always `N passed, N failed, N skipped`.
 * @param {readonly string[]} args for vitest
 */
export async function test(args) {
  await setUpOrExit();
  process.chdir(ROOT);
  const { code, outcome } = await runVitest(args);
  if (outcome === undefined) {
    console.log('the test runner ended before its report');
    return close(0, 1, 0, code || 1);
  }
  // A test chosen by name leaves the others out, which is no skip to account for.
  const { reasons, refused } = judgeSkips(selecting(args) ? [] : outcome.skipped, allowedSkips());
  for (const [reason, count] of reasons) console.log(`skipped ${count}: ${reason}`);
  for (const error of outcome.errors) console.log(`error: ${firstLine(error)}`);
  for (const { name, why } of refused) console.log(`not allowed to skip: ${name}: ${why}`);

  const failed = outcome.failed.length + outcome.errors.length + refused.length;
  const skipped = outcome.skipped.length - refused.length;
  close(outcome.passed.length, failed || (code ? 1 : 0), skipped, code || (failed ? 1 : 0));
}

/**
 * @param {number} passed
 * @param {number} failed
 * @param {number} skipped
 * @param {number} code
 */
function close(passed, failed, skipped, code) {
  console.log(`${passed} passed, ${failed} failed, ${skipped} skipped`);
  // Not process.exit(): what was printed must reach a pipe.
  process.exitCode = code;
}

/** @param {readonly string[]} args */
function selecting(args) {
  return args.some((arg) => /^(-t|--testNamePattern)/.test(arg));
}

/** @param {string} text */
function firstLine(text) {
  return text.split('\n', 1)[0];
}
