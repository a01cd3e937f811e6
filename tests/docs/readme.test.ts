import { checkMachine, defineMachine, start, use } from '@trapline/core';
import { expect, it } from 'vitest';
// Written out of README.md and docs/devices.md before the tests are collected.
import { Counter } from './extracted/devices/counter.js';
import { moveCounter } from './extracted/devices/hot-plug.js';
import { Oracle } from './extracted/devices/oracle.js';
import machine from './extracted/readme/machine.js';

it("the README's machine has no problems and runs to its end", async () => {
  expect(checkMachine(machine).problems).toEqual([]);
  const vm = await start(machine, { backend: 'sim-js' });
  expect(await vm.wait()).toEqual({ reason: 'exit', code: 0 });
  await vm.close();
});

it('the device that waits answers later', async () => {
  const answers: number[] = [];
  const waiting = defineMachine({
    memory: '64K',
    devices: { oracle: use(Oracle) },
    guest: { kind: 'script', script: async (cpu) => void answers.push(await cpu.readAsync('mmio', 0xd000_4000, 4)) },
  });
  const vm = await start(waiting, { backend: 'sim-js' });
  expect(await vm.wait()).toEqual({ reason: 'halted' });
  expect(answers).toEqual([42]);
  await vm.close();
});

it('the counter comes back at another address, and begins anew', async () => {
  const seen: number[] = [];
  const machine = defineMachine({
    memory: '64K',
    devices: { counter: use(Counter) },
    guest: {
      kind: 'script',
      script: async (cpu) => {
        const read = async (address: number) => seen.push(await cpu.readAsync('mmio', address, 4));
        cpu.write('pio', 0x300, 1, 0);
        await read(0xd000_2000);
        await moveCounter(vm);
        await read(0xd000_2000);
        await read(0xd000_6000);
        cpu.write('pio', 0x300, 1, 0);
        await read(0xd000_6000);
      },
    },
  });
  const vm = await start(machine, { backend: 'sim-js' });
  expect(await vm.wait()).toEqual({ reason: 'halted' });
  expect(seen).toEqual([1, 0xffff_ffff, 0, 1]);
  await vm.close();
});
