// A machine to try the device in: trapline run machine.ts
import { defineMachine, use } from '@trapline/core';
import { DebugExit } from '@trapline/devices-pc';
import { DeviceName } from './src/device-name.js';

const CTRL = 0xd000_0000;
const PERIOD = 0xd000_0004;
const STATUS = 0xd000_0008;
const COUNT = 0xd000_000c;

export default defineMachine({
  memory: '1M',
  devices: {
    timer: use(DeviceName, { hz: 1000 }),
    exit: use(DebugExit),
  },
  // The guest is a script here: each call is an access of the CPU's.
  guest: {
    kind: 'script',
    script: async (cpu) => {
      cpu.write('mmio', PERIOD, 4, 10);
      cpu.write('mmio', CTRL, 4, 0b11);
      for (let ticks = 0; ticks < 3; ticks++) {
        await cpu.halt();
        cpu.write('mmio', STATUS, 4, 1);
      }
      // Three ticks were seen: success is exit code 0.
      cpu.write('pio', 0xf4, 1, cpu.read('mmio', COUNT, 4) >= 3 ? 0 : 1);
    },
  },
});
