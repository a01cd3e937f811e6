import fc from 'fast-check';
import { describe, expect, it } from 'vitest';
import type { AccessRule, IoHandler, IoHandler64 } from '../device/handler.js';
import { BadValue, fitsAccess, type Placement, WidthAdapter } from './width-adapter.js';

const LITTLE: Placement = { stride: undefined, endian: 'little' };

/** A device of plain bytes that notes every access its `impl` does not allow. */
class Bytes implements IoHandler {
  readonly data: Uint8Array;
  readonly broken: string[] = [];
  readonly calls: string[] = [];
  constructor(
    size: number,
    private readonly impl: AccessRule,
  ) {
    this.data = Uint8Array.from({ length: size }, (_, i) => (i * 37 + 11) & 0xff);
  }
  read(offset: number, size: number): number {
    this.note('read', offset, size);
    return this.peek(offset, size);
  }
  write(offset: number, size: number, value: number): void {
    this.note('write', offset, size);
    if (!fitsAccess(value, size) || value < 0) this.broken.push(`value ${value} of ${size}`);
    for (let i = 0; i < size; i++) this.data[offset + i] = value >>> (8 * i);
  }
  peek(offset: number, size: number): number {
    let value = 0;
    for (let i = 0; i < size; i++) value |= (this.data[offset + i] as number) << (8 * i);
    return value >>> 0;
  }
  private note(what: string, offset: number, size: number): void {
    this.calls.push(`${what} ${offset}+${size}`);
    const { min = 1, max = 4, unaligned = false } = this.impl;
    const fits = size >= min && size <= max && offset >= 0 && offset + size <= this.data.length;
    if (!fits || (!unaligned && offset % size !== 0)) this.broken.push(`${what} of ${size} at ${offset}`);
  }
}

/** The same device whose narrow writes nobody can merge. */
class Unpeekable extends Bytes {
  override peek = undefined as never;
  override read(offset: number, size: number): number {
    return super.read(offset, size);
  }
}

const power = (...list: (1 | 2 | 4 | 8)[]) => fc.constantFrom(...list);
const setting = fc
  .record({
    unit: power(1, 2, 4),
    min: power(1, 2, 4),
    max: power(1, 2, 4, 8),
    registers: fc.integer({ min: 2, max: 6 }),
    unaligned: fc.boolean(),
    gap: power(1, 2, 4),
    strided: fc.boolean(),
    big: fc.boolean(),
  })
  .filter(({ unit, min, max }) => min <= unit && min <= max)
  .map(({ unit, min, max, registers, unaligned, gap, strided, big }) => ({
    unit,
    impl: { min, max, unaligned },
    deviceSize: unit * registers,
    stride: strided ? unit * gap : undefined,
    endian: big ? ('big' as const) : ('little' as const),
  }));
type Setting = typeof setting extends fc.Arbitrary<infer T> ? T : never;

/** Index of the device's byte at a bus offset, or -1 between two registers. */
function deviceByte({ unit, stride = unit, endian }: Setting, bus: number): number {
  const within = bus % stride;
  if (within >= unit) return -1;
  return Math.floor(bus / stride) * unit + (endian === 'big' ? unit - 1 - within : within);
}
const make = (s: Setting, device: IoHandler) => new WidthAdapter(device, s.deviceSize, s.unit, s.impl, {}, s);
const place = (adapter: WidthAdapter, size: number, at: number) => at % (adapter.size - size + 1);
const mask = (size: number) => (1n << BigInt(8 * size)) - 1n;
const whole = (low: number, high: number) => (BigInt(high >>> 0) << 32n) | BigInt(low >>> 0);

describe('the width adapter', () => {
  it('reads what the bytes on the bus say, for every size, offset, rule, stride and byte order', () => {
    fc.assert(
      fc.property(setting, power(1, 2, 4, 8), fc.nat(100), (s, size, at) => {
        const device = new Bytes(s.deviceSize, s.impl);
        const adapter = make(s, device);
        if (size > adapter.size) return;
        const offset = place(adapter, size, at);
        let expected = 0n;
        for (let i = 0; i < size; i++) {
          const byte = deviceByte(s, offset + i);
          if (byte >= 0) expected |= BigInt(device.data[byte] as number) << BigInt(8 * i);
        }
        const low = adapter.read(offset, size);
        expect(whole(low, adapter.high) & mask(size)).toBe(expected);
        expect(device.broken).toEqual([]);
        if (size <= 4) expect(adapter.peek(offset, size)).toBe(Number(expected));
      }),
      { numRuns: 1000 },
    );
  });

  it('writes the bytes on the bus and no others', () => {
    fc.assert(
      fc.property(setting, power(1, 2, 4, 8), fc.nat(100), fc.bigInt({ min: 0n, max: mask(8) }), (s, size, at, v) => {
        const device = new Bytes(s.deviceSize, s.impl);
        const adapter = make(s, device);
        if (size > adapter.size) return;
        const offset = place(adapter, size, at);
        const expected = device.data.slice();
        for (let i = 0; i < size; i++) {
          const byte = deviceByte(s, offset + i);
          if (byte >= 0) expected[byte] = Number((v >> BigInt(8 * i)) & 0xffn);
        }
        adapter.write(offset, size, Number(BigInt.asIntN(32, v)), Number(BigInt.asIntN(32, v >> 32n)));
        expect(device.data).toEqual(expected);
        expect(device.broken).toEqual([]);
      }),
      { numRuns: 1000 },
    );
  });

  it('fills the rest of a register that cannot be merged with zeros', () => {
    const device = new Unpeekable(4, { min: 4 });
    const adapter = new WidthAdapter(device, 4, 4, { min: 4 }, {}, LITTLE);
    adapter.write(1, 1, 0xab, 0);
    expect([...device.data]).toEqual([0, 0xab, 0, 0]);
    expect(adapter.peek(0, 4)).toBeUndefined();
  });

  it('takes two bytes of two registers from both, where it has to widen them', () => {
    const device = new Bytes(8, { min: 4, unaligned: true });
    const adapter = new WidthAdapter(device, 8, 4, { min: 4, unaligned: true }, {}, LITTLE);
    expect(adapter.read(3, 2)).toBe((device.data[3] as number) + 256 * (device.data[4] as number));
    expect(device.calls).toEqual(['read 0+4', 'read 4+4']);
  });

  it('splits a wide access into what the handler supports, low half first', () => {
    const device = new Bytes(8, { max: 2 });
    const adapter = new WidthAdapter(device, 8, 1, { max: 2 }, {}, LITTLE);
    adapter.read(0, 8);
    adapter.write(0, 4, 0x1234_5678, 0);
    expect(device.calls).toEqual(['read 0+2', 'read 2+2', 'read 4+2', 'read 6+2', 'write 0+2', 'write 2+2']);
  });

  it('keeps the effect of the first half when the second one throws', () => {
    const device = new Bytes(8, {});
    const written: number[] = [];
    device.write = (offset) => {
      if (offset === 4) throw new Error('no');
      written.push(offset);
    };
    const adapter = new WidthAdapter(device, 8, 1, {}, {}, LITTLE);
    expect(() => adapter.write(0, 8, 1, 2)).toThrow('no');
    expect(written).toEqual([0]);
  });

  it('takes only direct sizes past itself: not where it strides, swaps or is told otherwise', () => {
    const direct = (impl: AccessRule, valid: AccessRule, placement: Placement) =>
      new WidthAdapter(new Bytes(8, impl), 8, 1, impl, valid, placement).direct;
    expect(direct({}, {}, LITTLE)).toBe(7);
    expect(direct({ min: 2, max: 2 }, {}, LITTLE)).toBe(2);
    expect(direct({}, { min: 4 }, LITTLE)).toBe(4);
    expect(direct({}, {}, { stride: 4, endian: 'little' })).toBe(0);
    expect(direct({}, {}, { stride: undefined, endian: 'big' })).toBe(0);
  });

  it('takes as much of the bus as its last register with its stride', () => {
    expect(new WidthAdapter(new Bytes(8, {}), 8, 1, {}, {}, { stride: 4, endian: 'little' }).size).toBe(32);
  });

  it('says what the guest may do', () => {
    const adapter = new WidthAdapter(new Bytes(8, {}), 8, 1, {}, { min: 2, max: 4, unaligned: false }, LITTLE);
    expect([1, 2, 4, 8].map((size) => adapter.isValid(size, 0))).toEqual([false, true, true, false]);
    expect(adapter.isValid(2, 1)).toBe(false);
  });
});

describe('64-bit handlers', () => {
  class Wide extends Bytes implements IoHandler64 {
    answer: unknown = 0x8899_aabb_ccdd_eeffn;
    written: bigint | undefined;
    read64(): bigint {
      return this.answer as bigint;
    }
    write64(_offset: number, value: bigint): void {
      this.written = value;
    }
  }
  const wide = () => {
    const device = new Wide(16, {});
    return { device, adapter: new WidthAdapter(device, 16, 1, {}, {}, LITTLE) };
  };

  it('get an aligned access whole, and others as two halves', () => {
    const { device, adapter } = wide();
    expect(whole(adapter.read(8, 8), adapter.high)).toBe(0x8899_aabb_ccdd_eeffn);
    adapter.write(0, 8, -1, 1);
    expect(device.written).toBe(0x1_ffff_ffffn);
    adapter.read(4, 8);
    expect(device.calls).toEqual(['read 4+4', 'read 8+4']);
  });

  it.each([1n << 64n, -(1n << 63n) - 1n, 5, undefined])('cost the device what is no 64-bit value: %s', (answer) => {
    const { device, adapter } = wide();
    device.answer = answer;
    expect(() => adapter.read(0, 8)).toThrow(BadValue);
  });
});

describe('a value of a handler', () => {
  it.each([
    [1, [0, 255, -0], [256, -1, 0.5, Number.NaN, 2 ** 33, '5', undefined, null, true, {}, [1]]],
    [2, [0, 65535], [65536, -1, Number.POSITIVE_INFINITY]],
    [4, [0, 2 ** 32 - 1, -1, -(2 ** 31)], [2 ** 32, -(2 ** 31) - 1, 1.5, Number.NaN, '0']],
  ])('of %i bytes is told from garbage', (size, good, bad) => {
    for (const value of good) expect([value, fitsAccess(value, size)]).toEqual([value, true]);
    for (const value of bad) expect([value, fitsAccess(value, size)]).toEqual([value, false]);
  });

  it.each([
    [() => Promise.reject(new Error('unheard')), 'a promise'],
    ['text', "'text'"],
    [{}, 'an object'],
    [Number.NaN, 'NaN'],
    [undefined, 'undefined'],
  ])('is described when it is garbage', (value, text) => {
    const given: unknown = typeof value === 'function' ? value() : value;
    expect(new BadValue(given, 2).message).toBe(`returned ${text} to a read of 2 bytes`);
  });

  it('is nothing for a write: a promise would mean that it is not done', () => {
    const handler = { read: () => 0, write: () => Promise.reject(new Error('unheard')) as never };
    const adapter = new WidthAdapter(handler, 4, 1, {}, {}, { stride: 4, endian: 'little' });
    expect(() => adapter.write(0, 1, 0, 0)).toThrow('returned a promise to a write of 1 byte');
  });
});
