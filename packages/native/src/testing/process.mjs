// A process, or a worker thread, with a running guest: how it ends is the first argument, `sim` as the second means
// streams on the simulated hypervisor instead of code on KVM. Speaks to the addon itself, so that it needs no TypeScript.
import { once } from 'node:events';
import { createRequire } from 'node:module';
import { setFlagsFromString } from 'node:v8';
import { runInNewContext } from 'node:vm';
import { isMainThread, parentPort, Worker, workerData } from 'node:worker_threads';

const addon = createRequire(import.meta.url)(process.env.TRAPLINE_NATIVE_ADDON ?? '../../build/trapline_native.node');
const [how, hypervisor] = isMainThread ? process.argv.slice(2) : workerData;

/** A guest of `code`, at rest at 0:1000. */
function openKvm({ code }, onEvents) {
  const options = { device: '/dev/kvm', memory: 2 ** 20, cpus: 1, entry: 0x1000, waitSpinMicroseconds: 0 };
  const session = addon.openKvm(options, onEvents);
  new Uint8Array(session.ram[0].buffer).set(code, 0x1000);
  // One that KVM rings, so that the event loop has a descriptor of it to let go of.
  session.addService({ kind: 2, mmio: false, base: 0x4c, size: 2, widths: 7, value: 0, match: 1 });
  return session;
}

/** A guest of two vCPUs that run `stream`, at rest. */
function openSim({ stream }, onEvents) {
  const options = { cpus: 2, memory: 2 ** 20, completionPolling: false, verify: true };
  const streams = [stream, stream].map((given) => ({ random: false, seed: 1, gapMicroseconds: 0, ...given }));
  return addon.openSim({ ...options, waitSpinMicroseconds: 0, holdMicroseconds: 0, streams }, onEvents);
}

/** A running guest. */
function guest(program, onEvents = () => {}) {
  const session = (hypervisor === 'sim' ? openSim : openKvm)(program, onEvents);
  // What a pump does: it wakes us for requests.
  addon.poller.onWoken(() => onEvents(1));
  addon.poller.arm();
  session.keepAlive(true);
  session.run();
  return session;
}

/** A read of four bytes at that address: `stream.ts`. */
const read = (address) => Int32Array.of(2, 4, address, 0, 0, 0);
/** Runs for ever and asks for nothing: guest RAM does not trap. */
const SPIN = { code: [0xeb, 0xfe], stream: { words: read(0x2000), count: Number.MAX_SAFE_INTEGER } };
/** Sleeps; the stream does after its first access. */
const HALT = { code: [0xf4], stream: { words: read(0x2000), count: 2, gapMicroseconds: 1e9 } };
/** Waits for a device. */
const READ = { code: [0xe4, 0x10, 0xf4], stream: { words: read(0x1000_0000), count: 1 } };
/** Ends: jmp ffff:0010, which is no memory. */
const END = { code: [0xea, 0x10, 0x00, 0xff, 0xff], stream: { words: read(0x2000), count: 1 } };
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
    const session = guest(END, (events) => {
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
      const worker = new Worker(new URL(import.meta.url), { workerData: ['worker', hypervisor] });
      await new Promise((resolve) => worker.once('message', resolve));
      await wait(n * 5);
      await worker.terminate();
    }
    console.log('terminated');
  },
  /** Workers that end by themselves, some right after close. */
  async leave() {
    for (const data of ['worker-exit', 'worker-close']) {
      const worker = new Worker(new URL(import.meta.url), { workerData: [data, hypervisor] });
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
  /** A worker that serves every request of its guest, on the simulated hypervisor. */
  async serve() {
    const worker = new Worker(new URL(import.meta.url), { workerData: ['worker-serve', hypervisor] });
    const [served] = await once(worker, 'message');
    await once(worker, 'exit');
    console.log(`${served} served`);
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
  async 'worker-serve'() {
    const session = openSim({ stream: { words: read(0x1000_0000), count: 1500 } }, () => {});
    session.run();
    const { served } = session.serveNatively(1e6, 1, []);
    if (session.violations().count === 0) parentPort.postMessage(served);
    session.close();
  },
  async 'worker-close'() {
    guest(SPIN).close();
    process.exit();
  },
};

await endings[how]();
