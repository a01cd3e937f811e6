import { dirname, join, relative } from 'node:path';
import { fileURLToPath } from 'node:url';

/** The clone's root. */
export const ROOT = join(dirname(fileURLToPath(import.meta.url)), '..', '..');

/** Stamps live and die with what they vouch for. */
export const STAMPS = join(ROOT, 'node_modules', '.cache', 'trapline');

/** Logs and the lock must outlive a removed `node_modules`. */
export const STATE = join(ROOT, '.trapline');

/**
 * A path as a user in the clone would type it.
 * @param {string} path
 */
export function shown(path) {
  const short = relative(process.cwd(), path);
  return short.startsWith('..') || short === '' ? path : short;
}
