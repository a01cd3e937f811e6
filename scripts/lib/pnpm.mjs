import { spawnSync } from 'node:child_process';
import { readFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';

/**
 * The pinned pnpm, such as `pnpm@10.0.0`.
 * @param {string} root
 */
export function pinnedPnpm(root) {
  const manifest = JSON.parse(readFileSync(join(root, 'package.json'), 'utf8'));
  // The field may carry a hash after a plus sign.
  return /** @type {string} */ (manifest.packageManager).replace(/\+.*/, '');
}

/**
 * The words that start the pinned pnpm: the one that is there if it matches, else through npx.
 * @param {string} pinned
 * @param {NodeJS.ProcessEnv} env
 * @returns {string[]}
 */
export function pnpmCommand(pinned, env) {
  // Asked outside of the clone, where no `packageManager` field makes it fetch another version of itself;
  // and a corepack shim must neither ask nor fetch.
  const found = spawnSync('pnpm', ['--version'], {
    cwd: tmpdir(),
    env: { ...env, COREPACK_ENABLE_NETWORK: '0', COREPACK_ENABLE_DOWNLOAD_PROMPT: '0' },
    encoding: 'utf8',
    shell: process.platform === 'win32',
    stdio: ['ignore', 'pipe', 'ignore'],
    timeout: 5000,
  });
  if (found.status === 0 && `pnpm@${found.stdout.trim()}` === pinned) return ['pnpm'];
  // Without `--yes` npx asks before it fetches.
  return ['npx', '--yes', pinned];
}

/**
 * The environment for a package manager.
 * @param {NodeJS.ProcessEnv} env
 * @returns {NodeJS.ProcessEnv}
 */
export function packageManagerEnv(env) {
  return {
    // With no network at all npm waits minutes between its attempts; these are for a short hiccup.
    npm_config_fetch_retry_mintimeout: '1000',
    npm_config_fetch_retry_maxtimeout: '5000',
    npm_config_update_notifier: 'false',
    ...env,
    // The tests' and the compiler's packages are development dependencies, which this variable would leave out.
    NODE_ENV: 'development',
  };
}
