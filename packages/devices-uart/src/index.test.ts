import { checkMachine, defineMachine, formatError, isPlugin, mmio, pio, use } from '@trapline/core';
import { describe, expect, it } from 'vitest';
import { file, plugin, stdio, Uart16550, unixSocket } from './index.js';

describe('a machine file', () => {
  it('takes UARTs at ports and in memory, with consoles, and checking it opens none of them', () => {
    const machine = defineMachine({
      memory: '1M',
      devices: {
        com1: use(Uart16550, { at: pio(0x3f8), irq: 4, console: stdio() }),
        com2: use(Uart16550, { at: pio(0x2f8), irq: 3, console: file('/no/such/place') }),
        com3: use(Uart16550, { at: pio(0x3e8), irq: 4, console: unixSocket('/no/such/place'), compat: '8250' }),
        com9: use(Uart16550, { at: mmio(0xfe00_1000, { stride: 4 }), irq: 9, clockHz: 24_000_000 }),
      },
    });
    const { problems, map } = checkMachine(machine);
    expect(problems).toEqual([]);
    expect(map.map(({ device, space, first, last }) => [device, space, first, last])).toEqual(
      expect.arrayContaining([
        ['com1', 'pio', 0x3f8, 0x3ff],
        ['com9', 'mmio', 0xfe00_1000, 0xfe00_101f],
      ]),
    );
  });

  it('is told what is missing or wrong', () => {
    const machine = defineMachine({
      memory: '1M',
      devices: {
        nowhere: use(Uart16550, { irq: 4 }),
        silent: use(Uart16550, { at: pio(0x3f8) }),
        // @ts-expect-error: there is no such chip
        odd: use(Uart16550, { at: pio(0x2f8), irq: 3, compat: '16551' }),
        // @ts-expect-error: a path is no console
        path: use(Uart16550, { at: pio(0x3e8), irq: 4, console: '/dev/null' }),
      },
    });
    const text = checkMachine(machine).problems.map(formatError).join('\n');
    for (const line of ['nowhere', 'needs a number for interrupt line', 'option compat', 'expected a console']) {
      expect(text).toContain(line);
    }
  });
});

it('is a plugin', () => {
  expect(isPlugin(plugin)).toBe(true);
  expect(plugin.devices).toEqual([Uart16550]);
});
