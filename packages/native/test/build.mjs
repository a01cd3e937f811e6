// Compiles the sources under test with the tests into one program for each kind of check. What is up to date by the
// contents of all the files it was made from is not made again.
import { createHash } from 'node:crypto';
import { mkdirSync, readdirSync, readFileSync, writeFileSync } from 'node:fs';
import { availableParallelism } from 'node:os';
import { basename, dirname, join, resolve } from 'node:path';
import { fileURLToPath } from 'node:url';
import { compile } from '../compiler.mjs';

const here = dirname(fileURLToPath(import.meta.url));
export const PACKAGE = dirname(here);
export const SOURCES = join(PACKAGE, 'src', 'native');

/** What needs neither Node-API nor KVM. */
const UNITS = ['cpus', 'ioreq_channel', 'loop_poll', 'loop_waker', 'poller', 'service_table'];

/** Flags of each kind of check, on top of the common ones. @type {Record<string, string[]>} */
export const KINDS = {
  plain: [],
  asan: ['-fsanitize=address,undefined', '-fno-sanitize-recover=all', '-fno-omit-frame-pointer'],
  tsan: ['-fsanitize=thread', '-fno-omit-frame-pointer'],
};
const FLAGS = ['-std=c++20', '-O1', '-g', '-pthread', '-Wall', '-Wextra'];

/**
 * One thing to compile, and where its object goes.
 * @typedef {{ source: string, object: string }} Unit
 */

/**
 * Everything that makes up the program of a kind.
 * @param {string} kind
 * @returns {Unit[]}
 */
export function unitsOf(kind) {
  const tests = readdirSync(here).filter((name) => name.endsWith('.cc'));
  // The model checker computes, in one thread and without memory of its own: sanitizers would only make it slow.
  const models = kind !== 'plain' ? [] : readdirSync(join(here, 'model')).filter((name) => name.endsWith('.cc'));
  return [
    ...UNITS.map((name) => join(SOURCES, `${name}.cc`)),
    ...tests.sort().map((name) => join(here, name)),
    ...models.sort().map((name) => join(here, 'model', name)),
  ].map((source) => ({ source, object: join(outputOf(kind), `${basename(source)}.o`) }));
}

/**
 * Where the program of a kind and its objects are.
 * @param {string} kind
 */
export function outputOf(kind) {
  return join(PACKAGE, 'build', `test-${kind}`);
}

/**
 * The compiler's arguments that make an object.
 * @param {string} kind
 * @param {Unit} unit
 * @param {string} [sources] stands in for `src/native`
 */
export function compileArgs(kind, { source, object }, sources = SOURCES) {
  return [...FLAGS, ...(KINDS[kind] ?? []), `-I${sources}`, `-I${here}`, '-MMD', '-c', source, '-o', object];
}

/**
 * @param {string} kind
 * @param {readonly string[]} objects
 * @param {string} program
 */
export function linkArgs(kind, objects, program) {
  return ['-pthread', ...(KINDS[kind] ?? []), ...objects, '-o', program];
}

/**
 * The files, not the system's, that an object was made from; nothing if it was never made.
 * @param {string} object
 * @returns {string[]}
 */
export function madeFrom(object) {
  try {
    const rule = readFileSync(object.replace(/\.o$/, '.d'), 'utf8').replaceAll('\\\n', ' ');
    // A blank in a path is written with a backslash before it.
    const names = rule.slice(rule.indexOf(': ') + 2).match(/(?:\\.|\S)+/g) ?? [];
    return names.map((name) => resolve(PACKAGE, name.replace(/\\(.)/g, '$1')));
  } catch {
    return [];
  }
}

/**
 * @param {readonly string[]} files
 * @param {unknown} rest
 */
function hashOf(files, rest) {
  const hash = createHash('sha256').update(JSON.stringify(rest));
  for (const file of files) hash.update(file).update('\0').update(readFileSync(file));
  return hash.digest('hex');
}

/** @param {string} path */
function readOr(path) {
  try {
    return readFileSync(path, 'utf8');
  } catch {
    return '';
  }
}

/**
 * Makes `target` unless it was made from the same.
 * @param {string} target
 * @param {() => string} stamp of what it is made from; throws where that cannot be told
 * @param {() => Promise<{ ok: boolean, text: string }>} make
 */
async function makeOnce(target, stamp, make) {
  const file = `${target}.stamp`;
  try {
    if (readOr(file) === stamp()) return { ok: true, text: '' };
  } catch {}
  const made = await make();
  if (made.ok) writeFileSync(file, stamp());
  return made;
}

/**
 * Builds the tests of one kind.
 * @param {import('../compiler.mjs').Compiler} compiler
 * @param {string} kind
 * @returns {Promise<{ ok: boolean, text: string, program: string }>}
 */
export async function buildTests(compiler, kind) {
  const units = unitsOf(kind);
  const program = join(outputOf(kind), 'test');
  mkdirSync(outputOf(kind), { recursive: true });
  const queue = [...units];
  /** @type {{ ok: boolean, text: string }[]} */
  const results = [];
  const worker = async () => {
    for (let unit = queue.shift(); unit; unit = queue.shift()) {
      const args = compileArgs(kind, unit);
      const { object } = unit;
      const stamp = () => {
        const files = madeFrom(object);
        if (files.length === 0) throw new Error('never made');
        return hashOf(files, [args, compiler]);
      };
      results.push(await makeOnce(object, stamp, () => compile(compiler, args, PACKAGE)));
    }
  };
  await Promise.all(Array.from({ length: availableParallelism() }, worker));
  if (results.every(({ ok }) => ok)) {
    const objects = units.map(({ object }) => object);
    const args = linkArgs(kind, objects, program);
    results.push(
      await makeOnce(
        program,
        () => hashOf(objects, args),
        () => compile(compiler, args, PACKAGE),
      ),
    );
  }
  return { ok: results.every(({ ok }) => ok), text: results.map(({ text }) => text).join(''), program };
}
