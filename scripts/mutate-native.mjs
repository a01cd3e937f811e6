// `npm run mutate:native`: every mistake in the C++ sources on the list must make its named test fail.
//   --only ID     one of them         --sample N   N of them, evenly spread
//   --list FILE   another list        --verbose    with the tests' own output
// The mistake is in a copy of the sources; what does not depend on the changed file is linked as it is.
import { spawn } from 'node:child_process';
import { cpSync, mkdirSync, mkdtempSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { availableParallelism } from 'node:os';
import { basename, join, resolve } from 'node:path';
import { parseArgs } from 'node:util';
import { compile, findCompiler } from '../packages/native/compiler.mjs';
import {
  buildTests,
  compileArgs,
  linkArgs,
  madeFrom,
  outputOf,
  PACKAGE,
  SOURCES,
  unitsOf,
} from '../packages/native/test/build.mjs';
import { ROOT } from './lib/paths.mjs';

/**
 * One deliberate mistake.
 * @typedef {object} NativeMutation
 * @property {string} id
 * @property {string} file in packages/native/src/native
 * @property {string} find text that occurs exactly once in it
 * @property {string} replace
 * @property {string} killedBy the name of the test that must fail, or a part of it
 */

/** A mistake may hang: its test then fails at this limit, under its own name. */
const TEST_SECONDS = '20';
const KIND = 'plain';

const { values } = parseArgs({
  options: {
    only: { type: 'string' },
    sample: { type: 'string' },
    list: { type: 'string', default: join(ROOT, 'scripts', 'native-mutations.json') },
    verbose: { type: 'boolean', default: false },
  },
});

const platform = process.env.TRAPLINE_PLATFORM ?? process.platform;
const compiler = platform === 'linux' && process.arch === 'x64' ? findCompiler() : undefined;
if (!compiler) {
  console.log(`mutate:native: not run, ${platform === 'linux' ? 'there is no C++ compiler' : `this is ${platform}`}`);
  console.log('0 killed, 0 survived');
  process.exit(0);
}

const all = /** @type {NativeMutation[]} */ (JSON.parse(readFileSync(resolve(values.list), 'utf8')));
const mutations = choose(all);
const healthy = await buildTests(compiler, KIND);
if (!healthy.ok) {
  console.log(healthy.text);
  console.log('mutate:native: the tests do not compile as they are');
  process.exit(1);
}

const started = Date.now();
mkdirSync(join(PACKAGE, 'build'), { recursive: true });
let killed = 0;
let survived = 0;
const queue = [...mutations];
await Promise.all(
  Array.from({ length: values.verbose ? 1 : availableParallelism() }, async () => {
    for (let next = queue.shift(); next; next = queue.shift()) {
      const began = Date.now();
      const why = await attempt(next);
      if (why) survived++;
      else killed++;
      const seconds = ((Date.now() - began) / 1000).toFixed(1).padStart(5);
      console.log(`${why ? 'SURVIVED' : 'killed  '} ${seconds} s  ${next.id}${why ? `: ${why}` : ''}`);
    }
  }),
);
const seconds = (Date.now() - started) / 1000;
console.log(
  `${seconds.toFixed(1)} s in all, ${(seconds / Math.max(1, mutations.length)).toFixed(1)} s for each mutation`,
);
console.log(`${killed} killed, ${survived} survived`);
if (survived > 0) process.exitCode = 1;

/** @param {NativeMutation[]} list */
function choose(list) {
  if (values.only !== undefined) {
    const chosen = list.filter((mutation) => mutation.id === values.only);
    if (chosen.length === 0) throw new Error(`no mutation has the id "${values.only}"`);
    return chosen;
  }
  const count = Number(values.sample ?? list.length);
  if (count >= list.length) return list;
  return Array.from(
    { length: count },
    (_, i) => /** @type {NativeMutation} */ (list[Math.floor((i * list.length) / count)]),
  );
}

/**
 * @param {NativeMutation} mutation
 * @returns {Promise<string | undefined>} why it survived
 */
async function attempt(mutation) {
  const text = readFileSync(join(SOURCES, mutation.file), 'utf8');
  const count = text.split(mutation.find).length - 1;
  if (count !== 1) return `"${mutation.find}" occurs ${count} times in ${mutation.file}, not once`;
  if (mutation.find === mutation.replace) return 'it changes nothing';
  // A test that fails anyway, or does not exist, proves nothing.
  const before = await run(healthy.program, mutation.killedBy);
  if (!/^[1-9]\d* passed, 0 failed, 0 skipped$/m.test(before))
    return `no test that passes is called "${mutation.killedBy}"`;

  const folder = mkdtempSync(join(PACKAGE, 'build', 'mutant-'));
  try {
    const sources = join(folder, 'src');
    cpSync(SOURCES, sources, { recursive: true });
    // A function, or `$&` in the replacement would mean something.
    writeFileSync(
      join(sources, mutation.file),
      text.replace(mutation.find, () => mutation.replace),
    );
    const made = await build(folder, sources, join(SOURCES, mutation.file));
    if (!made.ok) return `it does not compile: ${/error: .*/.exec(made.text)?.[0] ?? made.text.split('\n', 1)[0]}`;
    const output = await run(join(folder, 'test'), mutation.killedBy);
    if (values.verbose) console.log(output);
    return /^FAIL /m.test(output) ? undefined : 'every named test passed';
  } finally {
    rmSync(folder, { recursive: true, force: true });
  }
}

/**
 * Compiles what depends on the changed file, and links it with the rest as it is.
 * @param {string} folder
 * @param {string} sources
 * @param {string} changed
 */
async function build(folder, sources, changed) {
  const objects = [];
  for (const unit of unitsOf(KIND)) {
    if (!madeFrom(unit.object).includes(changed)) {
      objects.push(unit.object);
      continue;
    }
    const own = unit.source.startsWith(SOURCES) ? join(sources, basename(unit.source)) : unit.source;
    const object = join(folder, basename(unit.object));
    const made = await compile(cpp(), compileArgs(KIND, { source: own, object }, sources), PACKAGE);
    if (!made.ok) return made;
    objects.push(object);
  }
  return compile(cpp(), linkArgs(KIND, objects, join(folder, 'test')), outputOf(KIND));
}

function cpp() {
  return /** @type {NonNullable<typeof compiler>} */ (compiler);
}

/**
 * Runs the tests with that in their names.
 * @param {string} program
 * @param {string} filter
 * @returns {Promise<string>} what they printed
 */
function run(program, filter) {
  return new Promise((done) => {
    const env = { ...process.env, TRAPLINE_TEST_SECONDS: TEST_SECONDS };
    const child = spawn(program, [filter], { stdio: ['ignore', 'pipe', 'ignore'], env });
    let text = '';
    child.stdout.setEncoding('utf8').on('data', (part) => (text += part));
    child.on('error', () => done(text));
    child.on('close', () => done(text));
  });
}
