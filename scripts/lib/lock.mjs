import { mkdirSync, readFileSync, renameSync, rmSync, statSync, writeFileSync } from 'node:fs';
import { dirname, join } from 'node:path';
import { setTimeout as sleep } from 'node:timers/promises';

/**
 * A lock between processes: a folder, which only one of them can make.
 * A lock whose owner is gone is taken over, so an interrupted set-up blocks nobody.
 */

/** No set-up takes this long: the owner's process id must have gone to another program. */
const MAX_AGE_MS = 30 * 60_000;

/**
 * @param {string} path
 * @param {{ onWait?: (owner: number) => void, pollMs?: number }} [options]
 * @returns {Promise<() => void>} gives the lock back
 */
export async function takeLock(path, { onWait, pollMs = 100 } = {}) {
  mkdirSync(dirname(path), { recursive: true });
  let waited = false;
  for (;;) {
    if (tryLock(path)) return () => rmSync(path, { recursive: true, force: true });
    const owner = ownerOf(path);
    if (owner === undefined || !isAlive(owner) || ageMs(path) > MAX_AGE_MS) {
      breakLock(path, owner);
      continue;
    }
    if (!waited) onWait?.(owner);
    waited = true;
    await sleep(pollMs);
  }
}

/** @param {string} path */
function tryLock(path) {
  try {
    mkdirSync(path);
  } catch (error) {
    if (/** @type {NodeJS.ErrnoException} */ (error).code === 'EEXIST') return false;
    throw error;
  }
  writeFileSync(join(path, 'pid'), String(process.pid));
  return true;
}

/**
 * The owner's process id; undefined where it never got to write it.
 * @param {string} path
 */
function ownerOf(path) {
  try {
    const pid = Number(readFileSync(join(path, 'pid'), 'utf8'));
    if (pid > 0) return pid;
  } catch {}
  // Between making the folder and writing the id there is a moment: that owner is alive.
  return ageMs(path) < 2000 ? process.pid : undefined;
}

/** @param {string} path */
function ageMs(path) {
  try {
    return Date.now() - statSync(path).mtimeMs;
  } catch {
    return 0;
  }
}

/** @param {number} pid */
function isAlive(pid) {
  try {
    process.kill(pid, 0);
    return true;
  } catch (error) {
    // EPERM: it is there, and someone else's.
    return /** @type {NodeJS.ErrnoException} */ (error).code === 'EPERM';
  }
}

/**
 * @param {string} path
 * @param {number | undefined} owner whose lock it is to be
 */
function breakLock(path, owner) {
  // Renaming is what only one of two processes can do; the loser simply tries again.
  const aside = `${path}.stale.${process.pid}`;
  try {
    renameSync(path, aside);
    // Someone may have broken it and locked it anew since we looked: then that lock is given back.
    if (ownerOf(aside) === owner || ageMs(aside) > MAX_AGE_MS) rmSync(aside, { recursive: true, force: true });
    else renameSync(aside, path);
  } catch {}
}
