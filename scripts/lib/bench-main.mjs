import { join } from 'node:path';
import { pathToFileURL } from 'node:url';
import { ROOT } from './paths.mjs';
import { setUpOrExit } from './setup-main.mjs';

/** Runs in this very process: nothing between the benchmark and its figures. */
export async function bench() {
  await setUpOrExit();
  process.chdir(ROOT);
  // The command knows how to import TypeScript; installed by now, so not imported before.
  const { registerTypeScript } = await import(urlOf('packages/cli/bin/register.mjs'));
  registerTypeScript({ sources: true });
  await import(urlOf('bench/run.ts'));
}

/** @param {string} path from the root */
function urlOf(path) {
  return pathToFileURL(join(ROOT, path)).href;
}
