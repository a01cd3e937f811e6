// The C++ compiler of this machine, for the addon and for the tests of its sources.
import { spawn, spawnSync } from 'node:child_process';

/**
 * @typedef {object} Compiler
 * @property {string} command
 * @property {string[]} prefix arguments before all others: CXX may read `ccache g++`
 * @property {string} version what it says about itself
 */

/**
 * The first compiler that answers: $CXX, c++, g++, clang++.
 * @returns {Compiler | undefined}
 */
export function findCompiler() {
  if (process.env.TRAPLINE_NO_COMPILER === '1') return undefined;
  for (const candidate of [process.env.CXX, 'c++', 'g++', 'clang++']) {
    const [command, ...prefix] = (candidate ?? '').split(' ').filter((word) => word);
    if (command === undefined) continue;
    const answer = spawnSync(command, [...prefix, '--version'], { encoding: 'utf8' });
    if (answer.status === 0) return { command, prefix, version: answer.stdout };
  }
  return undefined;
}

/**
 * Runs the compiler.
 * @param {Compiler} compiler
 * @param {readonly string[]} args
 * @param {string} cwd
 * @returns {Promise<{ ok: boolean, text: string }>} whether it was content, and what it said
 */
export function compile(compiler, args, cwd) {
  return new Promise((resolve) => {
    const child = spawn(compiler.command, [...compiler.prefix, ...args], { cwd });
    let text = '';
    for (const stream of [child.stdout, child.stderr]) stream.setEncoding('utf8').on('data', (part) => (text += part));
    child.on('error', (error) => resolve({ ok: false, text: `${text}${error.message}\n` }));
    child.on('close', (code) => resolve({ ok: code === 0, text }));
  });
}
