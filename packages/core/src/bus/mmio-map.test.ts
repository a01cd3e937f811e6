import fc from 'fast-check';
import { describe, expect, it } from 'vitest';
import { MmioMap, type Paint } from './mmio-map.js';

const GIB4 = 2 ** 32;
const lookup = (map: MmioMap, address: number) => map.lookup(address | 0, Math.floor(address / GIB4));
/** The latest paint that holds an address. */
const naive = (paints: readonly Paint[], address: number) =>
  paints.findLast(({ base, size }) => address >= base && address < base + size)?.entry ?? 0;
/** Every border, and its neighbours. */
const borders = (paints: readonly Paint[]) =>
  paints.flatMap(({ base, size }) => [base - 1, base, base + size - 1, base + size, base + Math.floor(size / 2)]);

/** Bases near each other, near 4 MiB, 4 KiB and 4 GiB borders, and far above. */
const base = fc.oneof(
  fc.nat(0x8000),
  fc.integer({ min: -64, max: 64 }).map((at) => 0x40_0000 + at),
  fc.integer({ min: -64, max: 64 }).map((at) => GIB4 + at),
  fc.nat(2 ** 30).map((at) => GIB4 * 16 + at),
  fc.constantFrom(0, 0xfee0_0000, GIB4 - 4096, 2 ** 52),
);
const size = fc.oneof(
  fc.integer({ min: 1, max: 64 }),
  fc.constantFrom(4096, 8192, 0x40_0000, 0x80_0000, GIB4),
  fc.integer({ min: 1, max: 0x100_0000 }),
);
const painting = fc
  .array(fc.record({ base, size }), { maxLength: 24 })
  .map((list) => list.map((paint, i): Paint => ({ ...paint, entry: i + 1 })));

describe('the memory map', () => {
  it('gives at every border what the latest paint says', () => {
    fc.assert(
      fc.property(painting, (paints) => {
        const map = new MmioMap(paints);
        for (const address of borders(paints)) {
          if (address < 0) continue;
          expect([address, lookup(map, address)]).toEqual([address, naive(paints, address)]);
        }
      }),
      { numRuns: 300 },
    );
  });

  it('gives at any address what the latest paint says', () => {
    fc.assert(
      fc.property(painting, fc.array(base, { maxLength: 40 }), (paints, addresses) => {
        const map = new MmioMap(paints);
        for (const address of addresses) expect(lookup(map, address)).toBe(naive(paints, address));
      }),
      { numRuns: 300 },
    );
  });

  it('tells byte neighbours inside a page apart', () => {
    const map = new MmioMap([
      { base: 0x1001, size: 1, entry: 1 },
      { base: 0x1002, size: 2, entry: 2 },
    ]);
    expect([0x1000, 0x1001, 0x1002, 0x1003, 0x1004].map((at) => lookup(map, at))).toEqual([0, 1, 2, 2, 0]);
  });

  it('follows a range across 4 GiB', () => {
    const map = new MmioMap([{ base: GIB4 - 2, size: 4, entry: 9 }]);
    expect([-3, -2, -1, 0, 1, 2].map((at) => lookup(map, GIB4 + at))).toEqual([0, 9, 9, 9, 9, 0]);
  });

  it('does not confuse addresses that are equal in their low 32 bits', () => {
    const map = new MmioMap([{ base: 0xd000_0000, size: 16, entry: 1 }]);
    expect(lookup(map, GIB4 + 0xd000_0000)).toBe(0);
    expect(lookup(map, 0xd000_0000)).toBe(1);
  });
});
