// `npm run lint`: what biome cannot know about the packages of this repository.
import { existsSync, readdirSync, readFileSync } from 'node:fs';
import { join, relative } from 'node:path';
import { fileURLToPath } from 'node:url';
import { importProblems } from './lib/check-imports.mjs';
import { switchProblems } from './lib/check-switch.mjs';
import { ROOT } from './lib/paths.mjs';
import { filesBelow } from './lib/stamp.mjs';

/** @typedef {{ file: string, line: number, text: string }} Problem */

/**
 * Everything wrong in a tree laid out like this repository.
 * @param {string} root
 */
export function checkTree(root) {
  /** @type {Problem[]} */
  const problems = [];
  let files = 0;
  for (const folder of [...foldersOf(root, 'packages'), ...foldersOf(root, 'examples')]) {
    for (const path of filesBelow(join(root, folder), keepSource)) {
      files++;
      const source = { file: relative(root, path).replaceAll('\\', '/'), text: readFileSync(path, 'utf8') };
      problems.push(...importProblems(source, folder, publicEntries(root)));
      if (isDeviceFolder(folder)) problems.push(...switchProblems(source));
    }
  }
  return { files, problems };
}

/** @param {string} folder such as `packages/devices-uart` */
function isDeviceFolder(folder) {
  return /^(packages\/(devices-|passthrough-)|examples\/)/.test(folder);
}

/**
 * @param {string} name
 * @param {boolean} isFolder
 */
function keepSource(name, isFolder) {
  return isFolder ? !['node_modules', 'dist', 'build'].includes(name) : /\.[cm]?tsx?$/.test(name);
}

/**
 * @param {string} root
 * @param {string} group
 */
function foldersOf(root, group) {
  if (!existsSync(join(root, group))) return [];
  return readdirSync(join(root, group)).map((name) => `${group}/${name}`);
}

/**
 * What core offers to everyone: its `exports`, as import specifiers.
 * @param {string} root
 */
function publicEntries(root) {
  const manifest = JSON.parse(readFileSync(join(root, 'packages/core/package.json'), 'utf8'));
  return Object.keys(manifest.exports).map((key) => `@trapline/core${key.slice(1)}`);
}

if (process.argv[1] === fileURLToPath(import.meta.url)) {
  const { files, problems } = checkTree(ROOT);
  for (const { file, line, text } of problems) console.log(`${file}:${line}: ${text}`);
  console.log(`check-devices: ${files} files, ${problems.length} problems`);
  if (problems.length > 0) process.exitCode = 1;
}
