import { describe, expect, it } from 'vitest';
import { boot } from '../../test/machine.js';
import { Cell } from '../../test/ranges.js';
import { type Attachment, mmio, pio } from '../device/attachment.js';
import { Device, Mmio, Pio } from '../device/decorators.js';
import type { RegionOptions } from '../device/handler.js';
import { layout, reg } from '../device/layout.js';
import { registers } from '../device/registers.js';
import { CompositionError } from '../errors.js';
import { use } from './define.js';

/** Boots a device with one region. */
function place(options: RegionOptions & { defer?: false }, at?: Attachment, member: object = new Cell(0x12)) {
  @Device({ type: 'placed', summary: '' })
  class Placed {
    @Mmio(options) readonly region = member as Cell;
  }
  return boot({ dev: use(Placed, at ? { at } : {}) });
}
const problems = (run: () => unknown) => {
  try {
    run();
  } catch (thrown) {
    return (thrown as CompositionError).problems.map(({ message }) => message);
  }
  return [];
};

describe('a region', () => {
  it.each<[string, RegionOptions & { defer?: false }, Attachment | undefined, RegExp]>([
    ['no address', { size: 4 }, undefined, /has no address/],
    ['no size', { base: 0 }, undefined, /has no size/],
    ['size 0', { base: 0, size: 0 }, undefined, /no size/],
    ['a stride below its registers', { size: 4, impl: { min: 2 } }, mmio(0, { stride: 1 }), /stride 1 is less/],
    ['a size its smallest access does not divide', { base: 0, size: 6, impl: { min: 4 } }, undefined, /no multiple/],
    ['an access size no handler takes', { base: 0, size: 8, impl: { min: 8 } }, undefined, /8 to 4 bytes/],
    ['a largest below a smallest access', { base: 0, size: 8, impl: { min: 4, max: 2 } }, undefined, /4 to 2 bytes/],
    ['no access at all', { base: 0, size: 8, impl: { max: 0 as never } }, undefined, /1 to 0 bytes/],
    ['a port past 64 K', { size: 8 }, pio(0xfffc), /leaves the 64 K ports/],
    ['an address past 2^53', { size: 8 }, mmio(2 ** 53 - 4), /passes 2\^53/],
  ])('is refused with %s', (_what, options, at, message) => {
    expect(problems(() => place(options, at))).toEqual([expect.stringMatching(message)]);
  });

  it('is refused with a member that handles nothing', () => {
    expect(problems(() => place({ base: 0, size: 4 }, undefined, {}))).toEqual([
      expect.stringMatching(/region is neither registers nor a handler/),
    ]);
  });

  it('takes its size from its layout', () => {
    const regs = registers(layout({ width: 2, regs: { a: reg(0, {}), b: reg(6, {}) } }), {});
    expect(place({ base: 0x100 }, undefined, regs).vm.map()).toMatchObject([{ first: 0x100, last: 0x107 }]);
  });

  it('strides and swaps as attached, in the same device', () => {
    const make = (at: Attachment) => {
      const regs = registers(layout({ width: 2, regs: { a: reg(0, { reset: 0x1234 }), b: reg(2, {}) } }), {});
      return place({}, at, regs);
    };
    const strided = make(mmio(0x1000, { stride: 8 }));
    strided.cpu.write('mmio', 0x1008, 2, 0xbeef);
    expect([strided.cpu.read('mmio', 0x1000, 4), strided.cpu.read('mmio', 0x1008, 2)]).toEqual([0x1234, 0xbeef]);
    expect(strided.vm.map()).toMatchObject([{ first: 0x1000, last: 0x100f }]);
    const big = make(mmio(0x1000, { endian: 'big' }));
    expect([big.cpu.read('mmio', 0x1000, 2), big.cpu.read('mmio', 0x1000, 1)]).toEqual([0x3412, 0x12]);
  });

  it.each([
    [8, 4, 0x4433_2211],
    [6, 2, 0x2211],
    [1, 1, 0x11],
  ])('of %i bytes without registers swaps what fits throughout: %i bytes', (size, access, expected) => {
    const offsets: number[] = [];
    const handler = {
      read: (offset: number, count: number) => {
        offsets.push(offset + count);
        return [0, 0x11, 0x1122, 0, 0x1122_3344][count] as number;
      },
      write: () => {},
    };
    const { cpu } = place({ size }, mmio(0x1000, { endian: 'big' }), handler);
    expect(cpu.read('mmio', 0x1000, access)).toBe(expected);
    for (let at = 0; at < size; at++) cpu.read('mmio', 0x1000 + at, 1);
    expect(Math.max(...offsets)).toBeLessThanOrEqual(size);
  });

  it('that defers takes no stride, no byte order and no 8 bytes', () => {
    @Device({ type: 'slow', summary: '' })
    class Slow {
      @Pio({ size: 8, defer: true, valid: { max: 8 } }) readonly region = {
        read: async () => 0,
        write: async () => {},
      };
    }
    expect(problems(() => boot({ dev: use(Slow, { at: pio(0, { stride: 2 }) }) }))[0]).toMatch(/takes no stride/);
    expect(problems(() => boot({ dev: use(Slow, { at: pio(0) }) }))[0]).toMatch(/at most 4 bytes/);
  });
});
