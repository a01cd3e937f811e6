// `npm run smoke:node24`: the packages' tests and the launcher on another line of Node, fetched through npm.
import { spawnSync } from 'node:child_process';
import { tmpdir } from 'node:os';
import { delimiter, dirname, join } from 'node:path';
import { ROOT } from './lib/paths.mjs';
import { setUpOrExit } from './lib/setup-main.mjs';
import { runVitest } from './lib/vitest.mjs';

const line = process.argv[2] ?? '24';
await setUpOrExit();
const node = fetchNode(line);
console.log(`running on ${version(node)}`);
// Programs that the tests start must find the same Node.
const env = { ...process.env, PATH: dirname(node) + delimiter + process.env.PATH };

const { code, outcome } = await runVitest(['packages/', 'examples/'], { node, env });
const launcher = spawnSync(node, [join(ROOT, 'scripts', 'start.mjs')], {
  env,
  stdio: ['ignore', 'inherit', 'inherit'],
});
console.log(`launcher: exit code ${launcher.status}`);

const passed = outcome?.passed.length ?? 0;
const broken = (outcome?.failed.length ?? 1) + (outcome?.errors.length ?? 0);
const failed = (broken || (code === 0 ? 0 : 1)) + (launcher.status === 0 ? 0 : 1);
// Which of them may be skipped is for `npm test` to say.
console.log(`${passed} passed, ${failed} failed, ${outcome?.skipped.length ?? 0} skipped`);
if (failed > 0) process.exitCode = 1;

/**
 * The path of a Node of this line. The registry carries one package per platform, with no install script.
 * @param {string} wanted such as `24`
 */
function fetchNode(wanted) {
  const platform = process.platform === 'win32' ? 'win' : process.platform;
  const arch = process.arch === 'ia32' ? 'x86' : process.arch;
  const found = spawnSync(
    'npx',
    ['--yes', `--package=node-${platform}-${arch}@${wanted}`, '--', 'node', '-p', 'process.execPath'],
    // Outside of the clone: npx must not look at our own packages.
    { cwd: tmpdir(), encoding: 'utf8', stdio: ['ignore', 'pipe', 'inherit'], shell: process.platform === 'win32' },
  );
  const path = found.stdout.trim();
  if (found.status !== 0 || !version(path).startsWith(`v${wanted}.`)) {
    throw new Error(`npm has no Node ${wanted} for ${platform}-${arch}`);
  }
  return path;
}

/** @param {string} path */
function version(path) {
  return spawnSync(path, ['--version'], { encoding: 'utf8' }).stdout?.trim() ?? '';
}
