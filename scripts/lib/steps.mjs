import { existsSync, readdirSync, rmSync, statSync } from 'node:fs';
import { delimiter, join } from 'node:path';
import { packageManagerEnv, pinnedPnpm, pnpmCommand } from './pnpm.mjs';
import { filesBelow, hashOf } from './stamp.mjs';

/**
 * One thing the set-up does.
 * @typedef {object} Step
 * @property {string} id its log and its stamp have this name
 * @property {string} title what is said while it runs
 * @property {() => string} hash of everything its result depends on
 * @property {() => boolean} present whether its result is still there
 * @property {() => string[]} command
 * @property {NodeJS.ProcessEnv} env
 * @property {() => void} [before]
 * @property {boolean} [notices] what it says on stderr is for the user: what is missing, and what it would add
 */

/**
 * @param {string} root
 * @param {NodeJS.ProcessEnv} env
 * @returns {Step[]}
 */
export function setupSteps(root, env) {
  const steps = [installStep(root, env)];
  // Compiling TypeScript is no step: the launcher and the tests run from the sources.
  if (existsSync(join(root, 'packages/native/build.mjs'))) steps.push(nativeStep(root, env));
  return steps;
}

/**
 * @param {string} root
 * @param {NodeJS.ProcessEnv} env
 * @returns {Step}
 */
function installStep(root, env) {
  const modules = join(root, 'node_modules');
  const manifests = workspaceManifests(root);
  /** npm's own list of what it installed: pnpm never writes it. */
  const npmWasHere = () => existsSync(join(modules, '.package-lock.json'));
  return {
    id: 'install',
    title: 'installing packages',
    hash: () =>
      hashOf(
        ['pnpm-lock.yaml', 'pnpm-workspace.yaml', '.npmrc'].map((name) => join(root, name)).concat(manifests),
        // Packages with binaries are chosen for one platform, and a tree may move to another.
        [process.platform, process.arch],
      ),
    present: () => existsSync(join(modules, '.pnpm')) && !npmWasHere(),
    before: () => {
      if (!npmWasHere()) return;
      // pnpm would move npm's copies aside one by one, and ask; starting afresh is quicker and sure.
      rmSync(modules, { recursive: true, force: true });
      // The second lock file that `npm install` leaves would say something else than pnpm's.
      rmSync(join(root, 'package-lock.json'), { force: true });
    },
    command: () => [
      ...pnpmCommand(pinnedPnpm(root), env),
      'install',
      '--frozen-lockfile',
      '--reporter=append-only',
      // A user's `package-lock=false`, meant for npm, is obeyed by pnpm as well.
      '--config.lockfile=true',
      // Without a terminal pnpm would refuse to replace a folder made by another version of itself.
      '--config.confirmModulesPurge=false',
    ],
    env: packageManagerEnv(env),
  };
}

/**
 * @param {string} root
 * @param {NodeJS.ProcessEnv} env
 * @returns {Step}
 */
function nativeStep(root, env) {
  const folder = join(root, 'packages/native');
  return {
    id: 'native',
    title: 'compiling the native addon',
    hash: () =>
      hashOf(
        filesBelow(folder, (name, isFolder) =>
          isFolder ? !['node_modules', 'dist', 'build'].includes(name) : !name.endsWith('.ts'),
        ),
        [
          ...['TRAPLINE_PLATFORM', 'TRAPLINE_NO_COMPILER', 'CXX', 'CXXFLAGS'].map((name) => `${name}=${env[name]}`),
          process.platform,
          process.arch,
          compilerSignature(env),
        ],
      ),
    present: () => existsSync(join(folder, 'build', 'trapline_native.node')),
    command: () => [process.execPath, join(folder, 'build.mjs')],
    env,
    notices: true,
  };
}

/**
 * Which C++ compiler there is, without starting it.
 * @param {NodeJS.ProcessEnv} env
 */
function compilerSignature(env) {
  for (const name of [env.CXX, 'c++', 'g++', 'clang++']) {
    if (!name) continue;
    for (const folder of (env.PATH ?? '').split(delimiter)) {
      try {
        const file = statSync(join(folder, name));
        return `${name} ${file.size} ${file.mtimeMs}`;
      } catch {}
    }
  }
  return 'no compiler';
}

/**
 * Every package.json of the workspace.
 * @param {string} root
 */
function workspaceManifests(root) {
  const folders = [root, join(root, 'bench')];
  for (const group of ['packages', 'examples', 'tests']) {
    const names = existsSync(join(root, group)) ? readdirSync(join(root, group)).sort() : [];
    folders.push(...names.map((name) => join(root, group, name)));
  }
  return folders.map((folder) => join(folder, 'package.json')).filter((path) => existsSync(path));
}
