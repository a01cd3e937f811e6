import fc from 'fast-check';
import { describe, expect, it } from 'vitest';
import { parseMemorySize, RegionMemory } from './memory.js';
import { saveMemory } from './snapshot.js';

/** Three regions: two that touch, and one behind a hole. */
const LAYOUT = [
  { base: 0, length: 8 },
  { base: 8, length: 5 },
  { base: 0x1_0000_0000, length: 6 },
];
function make(onCommit?: (address: number, length: number) => void) {
  const regions = LAYOUT.map(({ base, length }) => ({ base, bytes: new Uint8Array(length) }));
  return { memory: new RegionMemory(regions, onCommit), regions };
}
const bounds = expect.objectContaining({ code: 'TL_MEMORY_BOUNDS' });
const address = fc.oneof(
  fc.integer({ min: -2, max: 16 }),
  fc.integer({ min: -2, max: 8 }).map((at) => 0x1_0000_0000 + at),
  fc.constantFrom(Number.NaN, 0.5, Number.POSITIVE_INFINITY, 2 ** 53 - 1, 2 ** 53, -(2 ** 40), 1e300),
);
const length = fc.oneof(fc.nat(20), fc.constantFrom(Number.NaN, -1, 0.5, 2 ** 32, 2 ** 53, Number.POSITIVE_INFINITY));

describe('guest memory', () => {
  it('is one array of bytes across its regions, bounds-checked everywhere', () => {
    fc.assert(
      fc.property(address, length, fc.boolean(), (at, count, write) => {
        const { memory, regions } = make();
        for (const { bytes } of regions) for (let i = 0; i < bytes.length; i++) bytes[i] = i + 1;
        const byte = (a: number) => regions.find(({ base, bytes }) => a >= base && a < base + bytes.length);
        const whole = Number.isSafeInteger(at) && at >= 0 && Number.isSafeInteger(count) && count >= 0 && count <= 19;
        const inside = whole && Array.from({ length: count }, (_, i) => at + i).every((a) => byte(a) !== undefined);
        expect(memory.contains(at, count)).toBe(inside);
        if (!inside) {
          expect(() => memory.read(at, count)).toThrow(bounds);
          expect(() => memory.view(at, count)).toThrow(bounds);
          return;
        }
        const data = Uint8Array.from({ length: count }, (_, i) => 0x80 + i);
        if (write) memory.write(at, data);
        const now = memory.read(at, count);
        for (let i = 0; i < count; i++) {
          const region = byte(at + i) as (typeof regions)[0];
          expect(now[i]).toBe(write ? 0x80 + i : at + i - region.base + 1);
        }
      }),
      { numRuns: 500 },
    );
  });

  it('reads and writes numbers across touching regions, low byte first', () => {
    const { memory, regions } = make();
    memory.writeU32(6, 0xdead_beef);
    expect([regions[0]?.bytes[6], regions[0]?.bytes[7], regions[1]?.bytes[0]]).toEqual([0xef, 0xbe, 0xad]);
    expect([memory.readU8(7), memory.readU16(6), memory.readU32(6)]).toEqual([0xbe, 0xbeef, 0xdead_beef]);
    memory.writeU16(0, 0x1_2345);
    memory.writeU8(2, 0x1ff);
    expect(memory.readU32(0)).toBe(0x00ff_2345);
    expect(() => memory.readU32(10)).toThrow(bounds);
    expect(() => memory.writeU16(12, 0)).toThrow(bounds);
    expect(memory.readU8(12)).toBe(0);
  });

  it('changes nothing if a part of a write is out of bounds', () => {
    const { memory } = make();
    expect(() => memory.write(10, new Uint8Array(4).fill(1))).toThrow(bounds);
    expect(memory.read(10, 3)).toEqual(new Uint8Array(3));
  });

  it('commits every write', () => {
    const commits: [number, number][] = [];
    const { memory } = make((at, count) => commits.push([at, count]));
    memory.write(6, new Uint8Array(4));
    memory.writeU8(0, 1);
    memory.writeU16(1, 1);
    memory.writeU32(3, 1);
    memory.view(0, 4)[0] = 1;
    memory.commit(0, 4);
    memory.write(0, new Uint8Array(0));
    expect(commits).toEqual([
      [6, 4],
      [0, 1],
      [1, 2],
      [3, 4],
      [0, 4],
    ]);
  });

  it('gives a view of one region, shared with the guest', () => {
    const { memory } = make();
    memory.view(8, 5)[0] = 0x5a;
    expect(memory.readU8(8)).toBe(0x5a);
    expect(() => memory.view(6, 4)).toThrow(/cannot cross regions/);
  });

  it('is out of bounds once it is closed, and its views are empty', () => {
    const { memory } = make();
    memory.close();
    expect(memory.view(0, 4)).toHaveLength(0);
    expect(() => memory.read(0, 1)).toThrow(bounds);
    expect(() => memory.writeU8(0, 1)).toThrow(bounds);
    expect(memory.contains(0, 1)).toBe(false);
  });

  it('is saved whatever its sizes and holes are, zeros left out', () => {
    const { memory } = make();
    expect(saveMemory(memory)).toEqual([]);
    memory.writeU8(12, 7);
    memory.writeU8(0x1_0000_0005, 9);
    expect(saveMemory(memory)).toEqual([
      { address: 8, bytes: Uint8Array.of(0, 0, 0, 0, 7) },
      { address: 0x1_0000_0000, bytes: Uint8Array.of(0, 0, 0, 0, 0, 9) },
    ]);
  });

  it('is saved in pieces of at most 64 KiB', () => {
    const memory = new RegionMemory([{ base: 0x1000, bytes: new Uint8Array(0x1_0001).fill(1) }]);
    expect(saveMemory(memory).map(({ address, bytes }) => [address, bytes.length])).toEqual([
      [0x1000, 0x1_0000],
      [0x1_1000, 1],
    ]);
  });
});

describe('a memory size', () => {
  it.each([
    ['128M', 128 * 2 ** 20],
    ['64k', 65536],
    ['2G', 2 ** 31],
    [4096, 4096],
    ['4096', 4096],
  ])('%s is %d bytes', (size, expected) => {
    expect(parseMemorySize(size)).toBe(expected);
  });

  it.each(['', '0', '5', '1.5G', '-4K', '4 K', '0x1000', '1T', '9999999999G', Number.NaN, -4096, 4097, 1e300])(
    'is not %o',
    (size) => {
      expect(() => parseMemorySize(size)).toThrow(expect.objectContaining({ code: 'TL_MEMORY_SIZE' }));
    },
  );
});
