import { checkMachine, defineMachine, isPlugin, pio, start, use } from '@trapline/core';
import { describeDevice, drive } from '@trapline/core/testing';
import { describe, expect, it } from 'vitest';
import { DebugExit, plugin } from './index.js';

describeDevice(DebugExit);

/** A machine whose guest writes to the device and hangs if that does not end it. */
const machineThatWrites = (address: number, size: 1 | 2 | 4, value: number) =>
  defineMachine({
    memory: '1M',
    devices: { exit: use(DebugExit, address === 0xf4 ? {} : { at: pio(address) }) },
    guest: { kind: 'script', script: (cpu) => void cpu.write('pio', address, size, value) },
  });

describe('DebugExit', () => {
  it.each([0, 1, 7, 255])('ends the machine with the byte written: %i', async (code) => {
    const vm = await start(machineThatWrites(0xf4, 1, code), { backend: 'sim-js' });
    expect(await vm.wait()).toEqual({ reason: 'exit', code });
    await vm.close();
  });

  it('goes where the machine says', async () => {
    const vm = await start(machineThatWrites(0x501, 1, 3), { backend: 'sim-js' });
    expect(await vm.wait()).toEqual({ reason: 'exit', code: 3 });
    await vm.close();
  });

  it('reads as 0 and does not end the machine then', () => {
    const t = drive(DebugExit);
    expect(t.guest.read(0)).toBe(0);
    expect(t.guest.peek(0)).toBe(0);
    expect(t.vm.state).toBe('running');
  });

  it('stops the machine when it is driven', () => {
    const t = drive(DebugExit);
    t.guest.write(0, 1, 42);
    expect(t.vm.state).toBe('stopped');
  });

  it('owns port 0xf4 and no interrupt line', () => {
    const { problems, map, lines } = checkMachine(machineThatWrites(0xf4, 1, 0));
    expect(problems).toEqual([]);
    expect(map).toMatchObject([{ space: 'pio', first: 0xf4, last: 0xf4, device: 'exit', type: 'debug-exit' }]);
    expect(lines).toEqual([]);
  });

  it('is in the plugin', () => {
    expect(isPlugin(plugin)).toBe(true);
    expect(plugin.devices).toEqual([DebugExit]);
  });
});
