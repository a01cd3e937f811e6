import { createHash } from 'node:crypto';
import { mkdirSync, readdirSync, readFileSync, renameSync, rmSync, writeFileSync } from 'node:fs';
import { dirname, join } from 'node:path';

/**
 * A stamp says: this step was done for exactly these inputs. It is written only after the step succeeded.
 */

/**
 * The hash of some files and words. A missing file is an input like any other.
 * @param {readonly string[]} files
 * @param {readonly string[]} [words]
 */
export function hashOf(files, words = []) {
  const hash = createHash('sha256');
  for (const file of files) {
    hash.update(`\0file ${file}\0`);
    try {
      hash.update(readFileSync(file));
    } catch {
      hash.update('\0missing');
    }
  }
  for (const word of words) hash.update(`\0word ${word}`);
  return hash.digest('hex');
}

/**
 * Every file below a folder, in a stable order.
 * @param {string} folder
 * @param {(name: string, isFolder: boolean) => boolean} keep
 * @returns {string[]}
 */
export function filesBelow(folder, keep) {
  let entries;
  try {
    entries = readdirSync(folder, { withFileTypes: true });
  } catch {
    return [];
  }
  const files = [];
  for (const entry of entries.sort((a, b) => (a.name < b.name ? -1 : 1))) {
    if (!keep(entry.name, entry.isDirectory())) continue;
    const path = join(folder, entry.name);
    if (entry.isDirectory()) files.push(...filesBelow(path, keep));
    else files.push(path);
  }
  return files;
}

/**
 * @param {string} path
 * @returns {{ hash: string, notice: string } | undefined} undefined where there is none
 */
export function readStamp(path) {
  try {
    const [hash = '', ...notice] = readFileSync(path, 'utf8').split('\n');
    return { hash, notice: notice.join('\n') };
  } catch {
    return undefined;
  }
}

/**
 * @param {string} path
 * @param {string} hash
 * @param {string} [notice] what the step had to tell the user
 */
export function writeStamp(path, hash, notice = '') {
  mkdirSync(dirname(path), { recursive: true });
  // Written aside and renamed: a stamp is whole or not there.
  const aside = `${path}.${process.pid}`;
  writeFileSync(aside, `${hash}\n${notice}`);
  renameSync(aside, path);
}

/** @param {string} path */
export function removeStamp(path) {
  rmSync(path, { force: true });
}
