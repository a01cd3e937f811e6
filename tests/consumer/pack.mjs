import { execFileSync } from 'node:child_process';
import { existsSync, mkdirSync, readdirSync, readFileSync } from 'node:fs';
import { join } from 'node:path';
import { ROOT } from '../../scripts/lib/paths.mjs';
import { packageManagerEnv, pinnedPnpm, pnpmCommand } from '../../scripts/lib/pnpm.mjs';

/**
 * A package as a user gets it.
 * @typedef {object} Packed
 * @property {string} name
 * @property {string} tarball
 * @property {Record<string, any>} manifest as it is in the tarball
 * @property {string} folder the tarball's contents
 */

/** The words that start pnpm. */
export const pnpm = pnpmCommand(pinnedPnpm(ROOT), process.env);
export const env = packageManagerEnv(process.env);

/**
 * Compiles and packs every public package into a folder.
 * @param {string} into
 * @returns {Packed[]}
 */
export function packAll(into) {
  run([process.execPath, join(ROOT, 'node_modules/typescript/bin/tsc'), '-b'], ROOT);
  run([...pnpm, '-r', '--filter', './packages/*', 'pack', '--pack-destination', into], ROOT);
  return readdirSync(into)
    .filter((name) => name.endsWith('.tgz'))
    .map((name) => {
      const tarball = join(into, name);
      const folder = join(into, name.replace(/\.tgz$/, ''));
      mkdirSync(folder);
      run(['tar', '-xzf', tarball, '-C', folder, '--strip-components=1'], into);
      const manifest = JSON.parse(readFileSync(join(folder, 'package.json'), 'utf8'));
      return { name: manifest.name, tarball, manifest, folder };
    });
}

/**
 * What is wrong with a packed package before anyone installs it.
 * @param {Packed} packed
 * @returns {string[]}
 */
export function packProblems({ manifest, folder }) {
  const problems = [];
  const text = JSON.stringify(manifest);
  for (const word of ['workspace:', 'catalog:', 'link:']) {
    if (text.includes(`"${word}`)) problems.push(`package.json still says ${word}`);
  }
  for (const path of targetsOf([manifest.exports, manifest.bin, manifest.trapline])) {
    if (!existsSync(join(folder, path))) problems.push(`${path} is promised and not in the tarball`);
  }
  for (const path of readdirSync(folder, { recursive: true, encoding: 'utf8' })) {
    if (/\.test\.|\.tsbuildinfo$|\.node$/.test(path)) problems.push(`${path} has no place in a package`);
  }
  for (const key of ['name', 'version', 'description', 'license', 'engines', 'files', 'exports']) {
    if (manifest[key] === undefined) problems.push(`package.json has no "${key}"`);
  }
  return problems;
}

/**
 * Every path that `exports` and `bin` name.
 * @param {unknown} value
 * @returns {string[]}
 */
function targetsOf(value) {
  if (typeof value === 'string') return [value];
  return value && typeof value === 'object' ? Object.values(value).flatMap(targetsOf) : [];
}

/**
 * @param {readonly string[]} command
 * @param {string} cwd
 */
export function run([program, ...args], cwd) {
  // A batch file of npm's needs a shell on Windows; no argument here has a space but paths, which are quoted then.
  const shell = process.platform === 'win32';
  try {
    return execFileSync(/** @type {string} */ (program), shell ? args.map((arg) => `"${arg}"`) : args, {
      cwd,
      env,
      shell,
      encoding: 'utf8',
      stdio: ['ignore', 'pipe', 'pipe'],
      maxBuffer: 64 * 1024 * 1024,
    });
  } catch (error) {
    const { stdout, stderr } = /** @type {{ stdout: string, stderr: string }} */ (error);
    throw new Error(`${[program, ...args].join(' ')}\n${stdout}\n${stderr}`.trim());
  }
}
