import { STATE } from '@trapline/core';
import { afterEach, describe, expect, it } from 'vitest';
import { kvm } from './kvm.js';
import {
  AP_ENTRY,
  ENTRY,
  echo,
  HALT,
  onInterrupt,
  out,
  pics,
  prepareProtectedMode,
  protectedMode,
  SPIN,
  START_APS,
  tellNumbers,
} from './testing/guest-code.js';
import { hostHoldings, type StubAccess, type StubHandler, StubMachine } from './testing/stub-machine.js';

const provider = kvm({ haltCheckMilliseconds: 10 });
const { available } = await provider.probe();
const open: StubMachine[] = [];

const delay = (ms: number) => new Promise((resolve) => setTimeout(resolve, ms));

async function machine(cpus: number, code: readonly number[], handler: StubHandler = () => 0) {
  const vm = await StubMachine.open(provider, code, handler, cpus);
  open.push(vm);
  return vm;
}

/** A guest whose first vCPU starts the others and does `first`, while the others do `others`, in real mode. */
async function several(cpus: number, first: readonly number[], others: readonly number[], handler?: StubHandler) {
  return started(cpus, [...START_APS, ...first], others, handler);
}

async function started(cpus: number, first: readonly number[], others: readonly number[], handler?: StubHandler) {
  const vm = await machine(cpus, protectedMode(first), handler);
  prepareProtectedMode(vm.backend.memory, 0x41, HALT);
  vm.backend.memory.write(AP_ENTRY, Uint8Array.from(others));
  return vm;
}

/** Numbers 0 to n - 1. */
const all = (n: number) => Array.from({ length: n }, (_, i) => i);
const slotsOf = (accesses: readonly StubAccess[]) =>
  [...new Set(accesses.map(({ slot }) => slot))].sort((a, b) => a - b);

afterEach(async () => {
  for (const vm of open.splice(0)) await vm.close();
});

describe.skipIf(!available)('kvm: several vCPUs', () => {
  it.each([2, 4])('%i vCPUs each have their number, their slot and their answers', async (cpus) => {
    let answers = 0;
    const vm = await several(
      cpus,
      [...tellNumbers(32), ...echo(32, 40), ...HALT],
      [...tellNumbers(16), ...echo(16, 40), ...HALT],
      ({ slot, write }) => (write ? 0 : (slot << 6) | (answers++ & 0x3f)),
    );
    vm.backend.run();
    expect(await vm.wait()).toEqual({ reason: 'halted', error: undefined });
    expect(vm.accesses).toHaveLength(cpus * 82);
    for (const slot of all(cpus)) {
      const mine = vm.accesses.filter((access) => access.slot === slot);
      expect(mine.slice(0, 2).map(({ address, value }) => [address, value])).toEqual([
        [0x10, slot],
        [0x11, slot],
      ]);
      const echoed = mine.slice(2).filter(({ write }) => write);
      expect(echoed).toHaveLength(40);
      expect(echoed.every(({ value }) => value >> 6 === slot)).toBe(true);
      expect(new Set(mine.map(({ generation }) => generation)).size).toBe(mine.length);
    }
  });

  it('16 are possible', async () => {
    const vm = await several(16, [...tellNumbers(32), ...HALT], [...tellNumbers(16), ...HALT]);
    vm.backend.run();
    expect((await vm.wait()).reason).toBe('halted');
    expect(slotsOf(vm.accesses)).toEqual(all(16));
    expect(vm.accesses.every(({ slot, value }) => value === slot)).toBe(true);
  });

  it('all stop at a pause, and all go on', async () => {
    const vm = await several(4, echo(32, 60_000), [...echo(16, 60_000)]);
    vm.backend.run();
    for (let round = 0; round < 5; round++) {
      const before = vm.accesses.length;
      await vm.seen(before + 100);
      await vm.backend.pause();
      // What was on its way when they stopped is still answered.
      const busy = () => all(4).some((slot) => vm.backend.ioreq?.page.state(slot) !== STATE.FREE);
      while (busy()) await delay(1);
      const stopped = vm.accesses.length;
      await delay(20);
      expect(vm.accesses).toHaveLength(stopped);
      vm.backend.run();
    }
    expect(slotsOf(vm.accesses)).toEqual(all(4));
  });

  it('all start anew at a reset: the first at its entry, the others when they are told to', async () => {
    const vm = await started(
      4,
      [...tellNumbers(32), ...START_APS, ...echo(32, 60_000)],
      [...tellNumbers(16), ...echo(16, 60_000)],
      // The first life ends with requests in flight.
      ({ address }) => (address === 0x12 && vm.accesses.length > 200 ? undefined : 0),
    );
    vm.backend.run();
    await vm.seen(200);
    await delay(20);
    for (let life = 0; life < 3; life++) {
      await vm.backend.pause();
      await vm.backend.reset();
      const before = vm.accesses.splice(0).length;
      expect(before).toBeGreaterThan(7);
      await delay(10);
      expect(vm.accesses).toEqual([]);
      vm.backend.run();
      await vm.seen(60);
      expect(vm.accesses[0]).toMatchObject({ slot: 0, address: 0x10 });
      for (const slot of all(4)) {
        const [first] = vm.accesses.filter((access) => access.slot === slot);
        expect(first).toMatchObject({ address: 0x10, value: slot });
      }
    }
  });

  it('the first that ends the machine stops the others', async () => {
    // lidt [5000h], where nothing is; int3
    const fault = [0x0f, 0x01, 0x1e, 0x00, 0x50, 0xcc];
    const counting = [0xff, 0x05, 0x00, 0x30, 0, 0, 0xeb, 0xf8]; // inc dword [3000h]; jmp back
    const vm = await several(2, counting, fault);
    vm.backend.run();
    expect((await vm.wait()).reason).toBe('triple-fault');
    await vm.backend.pause();
    const count = vm.backend.memory.readU32(0x3000);
    await delay(10);
    expect(vm.backend.memory.readU32(0x3000)).toBe(count);
    await vm.backend.reset();
    vm.stoppedBy = undefined;
    vm.backend.run();
    expect((await vm.wait()).reason).toBe('triple-fault');
  });

  it('close with a request of each in flight, and leave nothing behind', async () => {
    const life = async () => {
      const vm = await several(4, echo(32, 9), echo(16, 9), () => undefined);
      vm.backend.run();
      await vm.seen(4);
      const { ioreq } = vm.backend;
      expect(all(4).map((slot) => ioreq?.page.state(slot))).toEqual(Array(4).fill(STATE.PROCESSING));
      const [kept] = vm.accesses;
      await vm.close();
      expect(kept && vm.answer(kept, 1)).toBe(false);
    };
    await life();
    const before = hostHoldings();
    for (let n = 0; n < 100; n++) await life();
    expect(hostHoldings()).toEqual(before);
  });
});

describe.skipIf(!available)('kvm: a guest that has halted', () => {
  const CLI_HALT = [0xfa, ...HALT];

  it('for good ends the machine, which a reset revives', async () => {
    const vm = await machine(1, [...out(0x10, 1), ...CLI_HALT]);
    for (let life = 1; life <= 2; life++) {
      vm.backend.run();
      expect(await vm.wait()).toEqual({ reason: 'halted', error: undefined });
      expect(vm.accesses).toHaveLength(life);
      vm.stoppedBy = undefined;
      await vm.backend.pause();
      await vm.backend.reset();
    }
  });

  it('for good ends it also where others wait for a SIPI', async () => {
    const vm = await machine(3, CLI_HALT);
    vm.backend.run();
    expect((await vm.wait()).reason).toBe('halted');
  });

  it('with interrupts on sleeps on', async () => {
    const vm = await machine(2, [...pics(4), 0xfb, ...out(0x10, 0), ...HALT]);
    onInterrupt(vm.backend.memory, 12, [0xe4, 0x11, ...out(0x20, 0x20), 0xcf]);
    vm.backend.run();
    await vm.seen(1);
    await delay(150);
    expect(vm.stoppedBy).toBeUndefined();
    vm.backend.setIrqLine(4, true);
    await vm.seen(2);
  });

  it('has not ended while another vCPU works', async () => {
    const vm = await several(3, [...out(0x10, 0), ...SPIN], CLI_HALT);
    vm.backend.run();
    await vm.seen(1);
    await delay(150);
    expect(vm.stoppedBy).toBeUndefined();
  });

  it('has not ended while another vCPU waits for a device', async () => {
    const vm = await several(2, [0xe4, 0x12, ...CLI_HALT], CLI_HALT, ({ write }) => (write ? 0 : undefined));
    vm.backend.run();
    await vm.seen(1);
    await delay(150);
    expect(vm.stoppedBy).toBeUndefined();
    const [read] = vm.accesses;
    expect(read && vm.answer(read, 0)).toBe(true);
    expect((await vm.wait()).reason).toBe('halted');
  });

  it('may be paused, resumed, reset and closed at any moment of a look', async () => {
    const quick = kvm({ haltCheckMilliseconds: 1 });
    for (let n = 0; n < 20; n++) {
      const vm = await StubMachine.open(quick, protectedMode([...START_APS, 0xe4, 0x12, ...CLI_HALT]), () => 0, 3);
      prepareProtectedMode(vm.backend.memory, 0x41, HALT);
      vm.backend.memory.write(AP_ENTRY, Uint8Array.from(CLI_HALT));
      for (let round = 0; round < 3; round++) {
        vm.backend.run();
        await delay((n + round) % 7);
        await vm.backend.pause();
        if ((n + round) % 3 === 0) await vm.backend.reset();
      }
      vm.backend.run();
      // A machine that ended and was not reset stays as it is.
      if (n % 2 === 0) expect((await vm.wait()).reason).toBe('halted');
      await vm.close();
    }
  });

  it('is not looked at while the machine is paused', async () => {
    const vm = await machine(1, [...out(0x10, 1), ...CLI_HALT]);
    vm.backend.run();
    await vm.seen(1);
    await vm.backend.pause();
    await delay(100);
    expect(vm.stoppedBy).toBeUndefined();
    expect([...vm.backend.memory.read(ENTRY, 2)]).toEqual([0xb0, 1]);
    vm.backend.run();
    expect((await vm.wait()).reason).toBe('halted');
  });
});
