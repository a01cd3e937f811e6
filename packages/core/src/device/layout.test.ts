import { describe, expect, it } from 'vitest';
import { describe as describeLayout } from './describe.js';
import { array, bit, bits, indexed, type LayoutSpec, layout, reg } from './layout.js';
import { registers } from './registers.js';

const one = (options: Parameters<typeof reg>[1], offset = 0): LayoutSpec => ({
  width: 4,
  regs: { r: reg(offset, options) },
});

describe('a layout', () => {
  it.each<[string, LayoutSpec, RegExp]>([
    ['an offset that is not aligned', one({}, 2), /r: is not aligned/],
    ['a negative offset', one({}, -4), /r: has the offset -4/],
    ['a reset value that does not fit', { width: 1, regs: { r: reg(0, { reset: 256 }) } }, /more than 1 bytes/],
    ['a field that leaves its register', one({ fields: { f: bit(32) } }), /r\.f: (leaves|has bits 0 to 3)/],
    ['a field turned around', one({ fields: { f: bits(0, 3) } }), /r\.f: (leaves|has bits 0 to 3)/],
    ['two fields on one bit', one({ fields: { f: bits(3, 0), g: bit(3) } }), /r\.g: overlaps/],
    ['a field named value', one({ fields: { value: bit(0) } }), /not a possible field name/],
    ['a named value that does not fit', one({ fields: { f: bits(1, 0, { 0: 'a', 4: 'b' }) } }), /value 4/],
    ['a reset value without a name', one({ reset: 1, fields: { f: bit(0), g: bits(2, 1, { 1: 'a' }) } }), /no name/],
    ['one name for two values', one({ fields: { f: bits(1, 0, { 0: 'a', 1: 'a' }) } }), /one name/],
    ['two registers at one offset', { width: 4, regs: { a: reg(0, {}), b: reg(0, {}) } }, /b: is at 0x0, where a is/],
    ['two readable registers at one offset', { width: 1, regs: { a: reg(0, { access: 'ro' }), b: reg(0, {}) } }, /b:/],
    ['a size that ends too early', { width: 4, size: 4, regs: { a: reg(4, {}) } }, /ends before/],
    ['an array of nothing', { width: 4, regs: { a: array(0, 4, reg(0, {})) } }, /count and a stride/],
    ['a bank nothing selects', { width: 1, regs: { a: reg(0, { bank: 1 }) } }, /names no field/],
    ['a bank field that does not exist', { width: 1, bank: 'a.f', regs: { a: reg(0, {}) } }, /does not exist/],
    [
      'a bank its field cannot select',
      { width: 1, bank: 'a.f', regs: { a: reg(0, { fields: { f: bit(0) } }), b: reg(1, { bank: 2 }) } },
      /b: is in bank 2/,
    ],
    [
      'a bank field that is itself in a bank',
      { width: 1, bank: 'a.f', regs: { a: reg(0, { bank: 0, fields: { f: bit(0) } }) } },
      /itself in a bank/,
    ],
    [
      'two registers behind one index',
      { width: 1, regs: { x: indexed({ index: 0, data: 1, regs: { a: reg(5, {}), b: reg(5, {}) } }) } },
      /x\.b: is at 0x5/,
    ],
    ['more registers than can be numbered', { width: 1, regs: { a: array(65_536, 1, reg(0, {})) } }, /65535/],
  ])('refuses %s', (_what, spec, message) => {
    expect(() => layout(spec)).toThrow(message);
  });

  it('lets an ro and a wo register share an offset, and registers of different banks', () => {
    const shared = layout({
      width: 1,
      bank: 'lcr.dlab',
      regs: {
        lcr: reg(3, { fields: { dlab: bit(7), rest: bits(6, 0) } }),
        rx: reg(0, { access: 'ro', bank: 0 }),
        tx: reg(0, { access: 'wo', bank: 0 }),
        dll: reg(0, { bank: 1 }),
      },
    });
    expect(shared.size).toBe(4);
  });

  it('unfolds arrays and indexed banks, and is described as data', () => {
    const made = layout({
      width: 1,
      regs: {
        ch: array(2, 4, reg(0x10, { access: 'wo', doc: 'a channel' })),
        cmos: indexed({ index: 0, data: 1, mask: 0x7f, regs: { sec: reg(0, { access: 'ro', reset: 5 }) } }),
      },
    });
    const rows = describeLayout(made);
    expect(rows.map(({ name, offset, access }) => [name, offset, access])).toEqual([
      ['ch[0]', 0x10, 'wo'],
      ['ch[1]', 0x14, 'wo'],
      ['cmos.index', 0, 'rw'],
      ['cmos.data', 1, 'unimplemented'],
      ['cmos.sec', 0, 'ro'],
    ]);
    expect(JSON.parse(JSON.stringify(rows))).toEqual(rows);
    expect(describeLayout(registers(made, {})).at(-1)?.value).toBe(5);
  });
});
