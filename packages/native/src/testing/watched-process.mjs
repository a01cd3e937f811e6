// A process, or a worker thread, that is watched: how it ends is the first argument. Speaks to the addon itself, so that
// it needs no TypeScript.
import { spawnSync } from 'node:child_process';
import { constants, mkdtempSync, openSync, readdirSync, readFileSync, rmSync, writeSync } from 'node:fs';
import { createRequire } from 'node:module';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { isMainThread, parentPort, Worker, workerData } from 'node:worker_threads';

const addon = createRequire(import.meta.url)('../../build/trapline_native.node');
const how = isMainThread ? process.argv[2] : workerData;
const nap = new Int32Array(new SharedArrayBuffer(4));
/** Sleeps, and lets nothing else happen on this thread. */
const block = (ms) => Atomics.wait(nap, 0, 0, ms);

function watch(more) {
  const options = { warnAfterMs: 0, timeoutMs: 0, fd: 2, exitCode: undefined, fix: 'none', ...more };
  const watchdog = addon.openWatchdog(options, () => {});
  watchdog.name(1, 'com1');
  return { ...watchdog, words: new Int32Array(watchdog.words) };
}
/** A write of 2 to port 0x3f8 begins. */
const enter = ({ words }) => {
  words.set([1, 0x3f8, 0, 0x102], 1);
  words[0]++;
};

function watchers() {
  return readdirSync('/proc/self/task').filter((id) => {
    try {
      return readFileSync(`/proc/self/task/${id}/comm`, 'utf8') === 'trapline-watch\n';
    } catch {
      return false;
    }
  }).length;
}
/** A thread that was joined is gone from the list a moment later. */
async function noWatchers() {
  while (watchers() > 0) await new Promise((resolve) => setTimeout(resolve, 5));
  console.log('nobody watches');
}
const worker = (data) => new Worker(new URL(import.meta.url), { workerData: data });
const ended = (thread) => new Promise((resolve) => thread.once('exit', resolve));

const endings = {
  /** The code never returns. */
  async stuck() {
    enter(watch({ timeoutMs: 50, exitCode: 7 }));
    for (;;);
  },
  /** Nor does it here, and the reader of its last words does not read. */
  async unread() {
    const folder = mkdtempSync(join(tmpdir(), 'trapline-test-'));
    const pipe = join(folder, 'pipe');
    spawnSync('mkfifo', [pipe]);
    const fd = openSync(pipe, constants.O_RDWR | constants.O_NONBLOCK);
    rmSync(folder, { recursive: true });
    try {
      for (;;) writeSync(fd, 'x'.repeat(4096));
    } catch {}
    enter(watch({ timeoutMs: 50, exitCode: 7, fd }));
    for (;;);
  },
  /** The process is stopped while the code runs; that is not the code's time. */
  async stopped() {
    const watchdog = watch({ warnAfterMs: 3000 });
    enter(watchdog);
    // The watch has seen it by now.
    block(250);
    writeSync(1, 'running\n');
    for (let i = 0; i < 5; i++) block(30);
    watchdog.words[0]++;
    console.log('returned');
    watchdog.close();
  },
  /** `process.exit` out of the very code that is watched. */
  async exit() {
    enter(watch({ warnAfterMs: 1, timeoutMs: 60_000, fd: -1 }));
    block(20);
    process.exit(3);
  },
  /** The watch keeps no process alive, and ends with it. */
  async idle() {
    watch({ warnAfterMs: 1000 });
  },
  /** Workers that end by themselves, by `process.exit`, and by `terminate` with code that does not return. */
  async workers() {
    await ended(worker('worker-idle'));
    await ended(worker('worker-exit'));
    const stuck = worker('worker-stuck');
    await new Promise((resolve) => stuck.once('message', resolve));
    await stuck.terminate();
    await noWatchers();
  },
  async 'worker-idle'() {
    watch({ warnAfterMs: 1000 });
  },
  async 'worker-exit'() {
    watch({ warnAfterMs: 1000 });
    process.exit();
  },
  async 'worker-stuck'() {
    enter(watch({ timeoutMs: 1, fd: -1 }));
    block(20);
    parentPort.postMessage('stuck');
    for (;;);
  },
  /** Opened and closed, some while code runs. */
  async cycles() {
    for (let n = 0; n < 30; n++) {
      const watchdog = watch({ warnAfterMs: 1, timeoutMs: 2, fd: -1 });
      if (n % 2) enter(watchdog);
      if (n % 3) block(n);
      watchdog.close();
      watchdog.close();
      watchdog.name(2, 'late');
      if (watchdog.words.length > 0 || watchdog.takeExpired === undefined) throw new Error('still there');
    }
    await noWatchers();
  },
};

await endings[how]();
