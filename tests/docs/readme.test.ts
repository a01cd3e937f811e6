import { checkMachine, start } from '@trapline/core';
import { expect, it } from 'vitest';
// Written out of README.md before the tests are collected.
import machine from './extracted/readme/machine.js';

it("the README's machine has no problems and runs to its end", async () => {
  expect(checkMachine(machine).problems).toEqual([]);
  const vm = await start(machine, { backend: 'sim-js' });
  expect(await vm.wait()).toEqual({ reason: 'exit', code: 0 });
  await vm.close();
});
