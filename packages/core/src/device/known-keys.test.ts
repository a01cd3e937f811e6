import { describe, expect, it } from 'vitest';
import { Device, Mmio, Pio } from './decorators.js';
import { layout, reg } from './layout.js';
import { registers } from './registers.js';

describe('a misspelt key that no compiler has seen', () => {
  it.each<[string, () => unknown, RegExp]>([
    ['of a register', () => layout({ width: 1, regs: { a: reg(0, { acess: 'ro' } as never) } }), /a: .*acess/],
    [
      'of a hook',
      () => registers(layout({ width: 1, regs: { a: reg(0, {}) } }), { a: { wirte() {} } } as never),
      /wirte/,
    ],
    ['of a port region', () => Pio({ bsae: 1 } as never), /@Pio: .*bsae/],
    ['of a memory region', () => Mmio({ sise: 1 } as never), /@Mmio: .*sise/],
    ['of a device', () => Device({ type: 'a', sumary: 'b' } as never), /@Device: .*sumary/],
  ])('%s is refused', (_where, make, message) => {
    expect(make).toThrow(message);
  });

  it('says what was meant', () => {
    expect(() => Pio({ bsae: 1 } as never)).toThrow(
      expect.objectContaining({ fix: expect.stringMatching(/mean base\?/) }),
    );
  });

  it('an access mode that does not exist is refused by name', () => {
    expect(() => layout({ width: 1, regs: { a: reg(0, { access: 'rO' as never }) } })).toThrow(
      /a: has the access mode rO/,
    );
  });
});
