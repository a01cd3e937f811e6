import { checkMachine, defineMachine, start, use } from '@trapline/core';
import { expect, it } from 'vitest';
// Written out of README.md and docs/devices.md before the tests are collected.
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
