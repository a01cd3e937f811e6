import { readFileSync } from 'node:fs';
import { join } from 'node:path';
import { ROOT } from './paths.mjs';

/**
 * One deliberate mistake.
 * @typedef {object} Mutation
 * @property {string} id
 * @property {string} file the source, from the root
 * @property {string} find text that occurs exactly once in it
 * @property {string} replace
 * @property {string} test the test file (or a part of its path; several with spaces between) to run
 * @property {string} killedBy regular expression on the full name of a test that must fail
 */

/**
 * What is wrong with a mutation before it is tried; undefined where nothing is.
 * @param {Mutation} mutation
 * @param {string} [root]
 */
export function mutationProblem(mutation, root = ROOT) {
  let text;
  try {
    text = readFileSync(join(root, mutation.file), 'utf8');
  } catch {
    return `no such file: ${mutation.file}`;
  }
  if (/[\r\n]/.test(mutation.find + mutation.replace)) return 'a mutation changes one line';
  const count = text.split(mutation.find).length - 1;
  if (count !== 1) return `"${mutation.find}" occurs ${count} times in ${mutation.file}, not once`;
  if (mutation.find === mutation.replace) return 'it changes nothing';
  return undefined;
}

/**
 * A vite plugin that reads the source with the mistake in it: no file is ever changed.
 * @param {Mutation} mutation
 * @param {string} [root]
 * @returns {import('vite').Plugin}
 */
export function mutationPlugin(mutation, root = ROOT) {
  const target = join(root, mutation.file).replaceAll('\\', '/');
  return {
    name: 'trapline-mutation',
    enforce: 'pre',
    transform(code, id) {
      if (id.split('?', 1)[0] !== target) return undefined;
      // A function, or `$&` in the replacement would mean something.
      return { code: code.replace(mutation.find, () => mutation.replace), map: null };
    },
  };
}

/** The plugin for the mutation that `npm run mutate` asks for; none in an ordinary run. */
export function mutationPlugins() {
  const text = process.env.TRAPLINE_MUTATION;
  return text ? [mutationPlugin(JSON.parse(text))] : [];
}
