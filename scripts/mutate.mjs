// `npm run mutate`: every mistake on the list must make its named test fail.
//   --only ID     one of them         --sample N   N of them, evenly spread
//   --list FILE   another list        --verbose    with the tests' own output
import { readFileSync } from 'node:fs';
import { join, resolve } from 'node:path';
import { parseArgs } from 'node:util';
import { mutationProblem } from './lib/mutation-plugin.mjs';
import { ROOT } from './lib/paths.mjs';
import { setUpOrExit } from './lib/setup-main.mjs';
import { runVitest } from './lib/vitest.mjs';

/** @typedef {import('./lib/mutation-plugin.mjs').Mutation} Mutation */
/** @typedef {{ mutation: Mutation, killed: boolean, why: string, seconds: number }} Result */

const WORKERS = 2;
/** A mistake may loop for ever; then the test did not notice it, the clock did. */
const TIMEOUT_MS = 60_000;

const { values } = parseArgs({
  options: {
    only: { type: 'string' },
    sample: { type: 'string' },
    list: { type: 'string', default: join(ROOT, 'scripts', 'mutations.json') },
    verbose: { type: 'boolean', default: false },
  },
});

await setUpOrExit();
const mutations = choose(JSON.parse(readFileSync(resolve(values.list), 'utf8')));
const started = Date.now();
const healthy = await passingTests(mutations);
/** @type {Result[]} */
const results = [];
const queue = [...mutations];
await Promise.all(
  Array.from({ length: values.verbose ? 1 : WORKERS }, async () => {
    for (let next = queue.shift(); next; next = queue.shift()) {
      const result = await attempt(next);
      results.push(result);
      const word = result.killed ? 'killed  ' : 'SURVIVED';
      console.log(
        `${word} ${result.seconds.toFixed(1).padStart(5)} s  ${next.id}${result.killed ? '' : `: ${result.why}`}`,
      );
    }
  }),
);
const survived = results.filter((result) => !result.killed).length;
const seconds = (Date.now() - started) / 1000;
const each = results.length > 0 ? seconds / results.length : 0;
console.log(`${seconds.toFixed(1)} s in all, ${each.toFixed(1)} s for each mutation`);
console.log(`${results.length - survived} killed, ${survived} survived`);
if (survived > 0) process.exitCode = 1;

/** @param {Mutation[]} all */
function choose(all) {
  if (values.only !== undefined) {
    const chosen = all.filter((mutation) => mutation.id === values.only);
    if (chosen.length === 0) throw new Error(`no mutation has the id "${values.only}"`);
    return chosen;
  }
  const count = Number(values.sample ?? all.length);
  if (count >= all.length) return all;
  return Array.from({ length: count }, (_, i) => /** @type {Mutation} */ (all[Math.floor((i * all.length) / count)]));
}

/**
 * The tests that pass without any mistake: a test that fails anyway proves nothing.
 * @param {readonly Mutation[]} chosen
 */
async function passingTests(chosen) {
  const files = new Set(chosen.flatMap((mutation) => mutation.test.split(' ')));
  if (files.size === 0) return new Set();
  const { outcome } = await runVitest([...files], { stdio: values.verbose ? 'inherit' : 'ignore' });
  return new Set(outcome?.passed);
}

/**
 * @param {Mutation} mutation
 * @returns {Promise<Result>}
 */
async function attempt(mutation) {
  const began = Date.now();
  /** @param {string} [why] the reason why it survived */
  const result = (why) => ({ mutation, killed: !why, why: why ?? '', seconds: (Date.now() - began) / 1000 });
  const problem = mutationProblem(mutation);
  if (problem) return result(problem);
  const killer = new RegExp(mutation.killedBy);
  const named = [...healthy].filter((name) => killer.test(name));
  if (named.length === 0) return result(`no test that passes without it is called ${killer}`);

  const { outcome } = await runVitest([...mutation.test.split(' '), '--maxWorkers=1', '--no-file-parallelism'], {
    env: { ...process.env, TRAPLINE_MUTATION: JSON.stringify(mutation) },
    stdio: values.verbose ? 'inherit' : 'ignore',
    timeoutMs: TIMEOUT_MS,
  });
  if (outcome === undefined) return result('the tests never came to their end');
  if (named.some((name) => outcome.failed.includes(name))) return result();
  if (outcome.failed.length > 0) return result(`only another test failed: ${outcome.failed[0]}`);
  if (outcome.errors.length > 0) return result(`the tests did not load: ${outcome.errors[0]?.split('\n', 1)[0]}`);
  return result('every test passed');
}
