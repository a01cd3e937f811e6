// A process, or a worker thread, with a running guest: how it ends is the first argument. Speaks to the addon itself,
// so that it needs no TypeScript.
import { createRequire } from 'node:module';
import { setFlagsFromString } from 'node:v8';
import { runInNewContext } from 'node:vm';
import { isMainThread, parentPort, Worker, workerData } from 'node:worker_threads';

const addon = createRequire(import.meta.url)(process.env.TRAPLINE_NATIVE_ADDON ?? '../../build/trapline_native.node');
const how = isMainThread ? process.argv[2] : workerData;

/** A guest that runs `code`, at 0:1000. */
function guest(code, onEvents = () => {}) {
  const options = { device: '/dev/kvm', memory: 2 ** 20, entry: 0x1000, waitSpinMicroseconds: 0 };
  const session = addon.openKvm(options, onEvents);
  new Uint8Array(session.ram[0].buffer).set(code, 0x1000);
  // What a pump does: it wakes us for requests.
  addon.poller.onWoken(() => onEvents(1));
  addon.poller.arm();
  session.keepAlive(true);
  session.run();
  return session;
}

const SPIN = [0xeb, 0xfe];
const HALT = [0xf4];
const READ = [0xe4, 0x10, 0xf4];
/** jmp ffff:0010, which is no memory. */
const JUMP_TO_NOWHERE = [0xea, 0x10, 0x00, 0xff, 0xff];
const wait = (ms) => new Promise((resolve) => setTimeout(resolve, ms));

const endings = {
  /** process.exit with guests that spin, sleep, and wait for a device. */
  async exit() {
    for (const code of [SPIN, HALT, READ]) guest(code);
    await wait(20);
    process.exit(7);
  },
  /** Nothing but the guest keeps the process alive; then it is closed, and nothing does. */
  async close() {
    const session = guest(SPIN);
    setTimeout(() => {
      console.log('still alive');
      session.close();
    }, 100).unref();
  },
  /** A guest that ended does not keep the process alive. */
  async ended() {
    const session = guest(JUMP_TO_NOWHERE, (events) => {
      if (events & 8) session.keepAlive(false);
    });
  },
  /** What a listener throws is an uncaught exception like any other. */
  async throws() {
    process.on('uncaughtException', (error) => {
      console.log(`caught ${error.message}`);
      process.exit(3);
    });
    guest(READ, () => {
      throw new Error('on purpose');
    });
  },
  /** Workers that are terminated with running guests, one after the other. */
  async terminate() {
    for (let n = 0; n < 5; n++) {
      const worker = new Worker(new URL(import.meta.url), { workerData: 'worker' });
      await new Promise((resolve) => worker.once('message', resolve));
      await wait(n * 5);
      await worker.terminate();
    }
    console.log('terminated');
  },
  /** Workers that end by themselves, some right after close. */
  async leave() {
    for (const data of ['worker-exit', 'worker-close']) {
      const worker = new Worker(new URL(import.meta.url), { workerData: data });
      await new Promise((resolve) => worker.once('exit', resolve));
    }
    console.log('left');
  },
  /** A closed machine that nobody refers to leaves no memory behind. */
  async forget() {
    setFlagsFromString('--expose-gc');
    const gc = runInNewContext('gc');
    for (let n = 0; n < 5; n++) guest(HALT).close();
    for (let n = 0; n < 100 && addon.liveSessions() > 0; n++) {
      gc();
      await wait(5);
    }
    console.log(`${addon.liveSessions()} left`);
  },
  /** Guest memory whose ArrayBuffer was transferred (Node 22) is still there after close. */
  async transfer() {
    const session = guest(HALT);
    const { buffer } = session.ram[0];
    const moved = buffer.transfer?.() ?? buffer;
    session.close();
    if (moved.byteLength > 0) new Uint8Array(moved).fill(1);
    console.log('survived');
  },
  async worker() {
    for (const code of [SPIN, HALT, READ]) guest(code);
    parentPort.postMessage('running');
  },
  async 'worker-exit'() {
    for (const code of [SPIN, HALT, READ]) guest(code);
    await wait(20);
    process.exit();
  },
  async 'worker-close'() {
    guest(SPIN).close();
    process.exit();
  },
};

await endings[how]();
