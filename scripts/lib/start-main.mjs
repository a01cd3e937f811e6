import { join } from 'node:path';
import { pathToFileURL } from 'node:url';
import { ROOT } from './paths.mjs';
import { setUpOrExit } from './setup-main.mjs';

/**
 * Sets up, then becomes the launcher. It runs in this very process: the terminal,
 * the signals and the exit code are its own, with nothing in between to lose them.
 * @param {readonly string[]} args for the launcher
 */
export async function start(args) {
  await setUpOrExit();
  process.chdir(ROOT);
  const launcher = join(ROOT, 'packages/cli/bin/trapline.mjs');
  process.argv = [process.execPath, launcher, 'run', 'examples/launcher/machine.ts', ...args];
  await import(pathToFileURL(launcher).href);
}
