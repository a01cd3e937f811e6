// While device code does not return, the guests that wait for its thread are held; nothing else about them changes.
import { WATCH } from '@trapline/core';
import { afterEach, describe, expect, it } from 'vitest';
import { kvm } from './kvm.js';
import { StubMachine } from './testing/stub-machine.js';
import { type Watchdog, watchdog } from './watchdog.js';

const provider = kvm();
const { available } = await provider.probe();
const open: StubMachine[] = [];
const nap = new Int32Array(new SharedArrayBuffer(4));
const block = (ms: number) => Atomics.wait(nap, 0, 0, ms);

/** inc word [2000h], for ever. */
const COUNT = [0xff, 0x06, 0x00, 0x20, 0xeb, 0xfa];

async function counting() {
  const vm = await StubMachine.open(provider, COUNT, () => 0);
  open.push(vm);
  vm.backend.run();
  const count = () => vm.backend.memory.readU16(0x2000);
  const moves = async () => {
    const before = count();
    while (count() === before) await new Promise((resolve) => setTimeout(resolve, 5));
  };
  await moves();
  return { vm, count, moves };
}

/** Blocks this thread until a count stands still. @returns did it? */
function standsStill(count: () => number): boolean {
  let last = count();
  for (let tries = 0, same = 0; tries < 500; tries++) {
    block(20);
    same = count() === last ? same + 1 : 0;
    last = count();
    if (same === 10) return true;
  }
  return false;
}

afterEach(async () => {
  for (const vm of open.splice(0)) await vm.close();
});

describe.skipIf(!available)('kvm: while a handler does not return', () => {
  it('guests are held, and go on afterwards unless they were paused or closed', async () => {
    const [one, paused, closed] = [await counting(), await counting(), await counting()];
    const watch = watchdog({ timeoutMs: 50 }) as Watchdog;
    const expired = new Promise((resolve) => watch.connect(resolve));
    (watch.words[WATCH.sequence] as number)++;
    expect(standsStill(one.count)).toBe(true);
    expect(standsStill(paused.count)).toBe(true);
    const pausing = paused.vm.backend.pause();
    await Promise.all([pausing, closed.vm.close()]);
    // Awaiting gave the event loop a turn: the watch was heard.
    expect(await expired).toMatchObject({ code: 'TL_HANDLER_TIMEOUT' });
    (watch.words[WATCH.sequence] as number)++;
    await one.moves();
    expect(standsStill(paused.count)).toBe(true);
    paused.vm.backend.run();
    await paused.moves();
    watch.close();
  });

  it('closing the watch lets them go on', async () => {
    const { count, moves } = await counting();
    const watch = watchdog({ timeoutMs: 50 }) as Watchdog;
    (watch.words[WATCH.sequence] as number)++;
    expect(standsStill(count)).toBe(true);
    watch.close();
    await moves();
  });
});
