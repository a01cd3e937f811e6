import { join } from 'node:path';
import { diagnose } from './diagnose.mjs';
import { takeLock } from './lock.mjs';
import { ROOT, STAMPS, STATE, shown } from './paths.mjs';
import { pinnedPnpm } from './pnpm.mjs';
import { Progress } from './progress.mjs';
import { endChildren, runLogged } from './run-logged.mjs';
import { readStamp, removeStamp, writeStamp } from './stamp.mjs';
import { setupSteps } from './steps.mjs';

/** @typedef {import('./steps.mjs').Step} Step */

/** A step that failed: its message is the one line for the user. */
export class SetupError extends Error {}

/**
 * Does what is not up to date. Everything it says goes to stderr.
 * @param {{ env?: NodeJS.ProcessEnv, output?: import('./progress.mjs').Output }} [options]
 */
export async function setUp({ env = process.env, output = process.stderr } = {}) {
  const progress = new Progress(output, env);
  const steps = setupSteps(ROOT, env);
  // The common case first: all is done, no lock is needed.
  if (steps.some((step) => !isDone(step))) await runSteps(steps, progress);
  // What is missing here is said every time: it explains what the program then does without.
  for (const step of steps) {
    const notice = readStamp(stampOf(step))?.notice;
    if (notice) progress.note(notice);
  }
}

/**
 * @param {readonly Step[]} steps
 * @param {Progress} progress
 */
async function runSteps(steps, progress) {
  const started = Date.now();
  const unlock = await lock(progress);
  const stop = onSignals(progress, unlock);
  let worked = false;
  try {
    for (const step of steps) {
      // Asked again under the lock: another process may just have done it.
      if (isDone(step)) continue;
      await runStep(step, progress);
      worked = true;
    }
  } finally {
    progress.end();
    stop();
    unlock();
  }
  if (worked) progress.note(`set-up: done in ${((Date.now() - started) / 1000).toFixed(1)} s`);
}

/** `setUp` for a program's entry: on failure one last line and exit code 1. */
export async function setUpOrExit() {
  try {
    await setUp();
  } catch (error) {
    if (!(error instanceof SetupError)) throw error;
    process.stderr.write(`${error.message}\n`);
    process.exit(1);
  }
}

/** @param {Step} step */
function stampOf(step) {
  return join(STAMPS, `${step.id}.stamp`);
}

/** @param {Step} step */
function isDone(step) {
  const stamp = readStamp(stampOf(step));
  if (stamp?.hash !== step.hash()) return false;
  return stamp.notice !== '' || step.present();
}

/**
 * @param {Step} step
 * @param {Progress} progress
 */
async function runStep(step, progress) {
  const log = join(STATE, 'logs', `${step.id}.log`);
  progress.step(step.title);
  removeStamp(stampOf(step));
  // Read before the step: what changes while it runs makes it due again.
  const hash = step.hash();
  step.before?.();
  const result = await runLogged(step.command(), {
    cwd: ROOT,
    env: step.env,
    log,
    onLine: (line) => progress.detail(line),
  });
  if (result.code !== 0) {
    const { reason, fix } = diagnose(result.output, pinnedPnpm(ROOT));
    throw new SetupError(`set-up failed at "${step.title}": ${reason}; log: ${shown(log)}; fix: ${fix}`);
  }
  writeStamp(stampOf(step), hash, step.notices ? result.errorOutput.trim() : '');
}

/** @param {Progress} progress */
async function lock(progress) {
  try {
    return await takeLock(join(STATE, 'setup.lock'), {
      onWait: (owner) => progress.step(`waiting for another set-up (process ${owner})`),
    });
  } catch (error) {
    const { code } = /** @type {NodeJS.ErrnoException} */ (error);
    throw new SetupError(
      `set-up failed at "locking": ${shown(STATE)} cannot be made (${code}); no log; fix: make this folder writable`,
    );
  }
}

/**
 * Interrupted: the terminal is left clean, the lock free, the step without a stamp.
 * @param {Progress} progress
 * @param {() => void} unlock
 */
function onSignals(progress, unlock) {
  /** @param {NodeJS.Signals} signal */
  const onSignal = (signal) => {
    progress.end('set-up: interrupted; the next run goes on from here');
    endChildren();
    unlock();
    process.exit(signal === 'SIGINT' ? 130 : 143);
  };
  process.once('SIGINT', onSignal);
  process.once('SIGTERM', onSignal);
  return () => {
    process.off('SIGINT', onSignal);
    process.off('SIGTERM', onSignal);
  };
}
