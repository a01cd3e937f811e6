import fc from 'fast-check';
import { describe, expect, it } from 'vitest';
import { range } from '../../test/ranges.js';
import { findOverlaps, overlappingPairs, rangeProblem, rangesOverlap, rangeText } from './range.js';

describe('an address range', () => {
  it.each([
    ['size 0', range(0, 0)],
    ['a negative size', range(0, -4)],
    ['a fraction', range(0.5, 4)],
    ['a negative base', range(-4, 4)],
    ['a base that is no number', range(Number.NaN, 4)],
    ['a range past the 64 K ports', range(0xffff, 2, { space: 'pio' })],
    ['a range that passes 2^53', range(Number.MAX_SAFE_INTEGER, 2)],
    ['more than 4 GiB', range(0, 2 ** 32 + 1)],
    ['no access size at all', range(0, 4, { widths: 0 })],
  ])('refuses %s', (_what, refused) => {
    expect(rangeProblem(refused)).toMatchObject({ code: 'TL_RANGE', who: refused.owner });
  });

  it.each([
    ['the last port', range(0xffff, 1, { space: 'pio' })],
    ['all ports', range(0, 0x1_0000, { space: 'pio' })],
    ['the last exact address', range(Number.MAX_SAFE_INTEGER, 1)],
    ['4 GiB', range(0, 2 ** 32)],
  ])('accepts %s', (_what, accepted) => {
    expect(rangeProblem(accepted)).toBeUndefined();
  });

  it('says how far a port range may go', () => {
    expect(rangeProblem(range(0xfffe, 8, { space: 'pio' }))?.fix).toBe('choose a base up to 0xfff8');
  });

  it('is named by space, first and last address', () => {
    expect(rangeText(range(0x3f8, 8, { space: 'pio' }))).toBe('pio 0x3f8-0x3ff');
    expect(rangeText(range(0xf4, 1, { space: 'pio' }))).toBe('pio 0xf4');
  });
});

describe('overlaps', () => {
  it('names both owners of every pair, at once', () => {
    const problems = findOverlaps([
      range(0, 16, { owner: 'a' }),
      range(8, 16, { owner: 'b' }),
      range(12, 2, { owner: 'c' }),
    ]);
    expect(problems.map(({ details }) => [details.first, details.second])).toEqual([
      ['a', 'b'],
      ['a', 'c'],
      ['b', 'c'],
    ]);
    expect(problems.every(({ code }) => code === 'TL_RANGE_OVERLAP')).toBe(true);
  });

  it('are none where no access size is in both ranges', () => {
    const cf8 = range(0xcf8, 4, { space: 'pio', widths: 4 });
    const cf9 = range(0xcf9, 1, { space: 'pio', widths: 1 });
    expect(findOverlaps([cf8, cf9])).toEqual([]);
    expect(findOverlaps([cf8, range(0xcf9, 1, { space: 'pio' })])).toHaveLength(1);
  });

  it('are none between neighbours, other spaces and dynamic ranges', () => {
    const pio = range(0, 4, { space: 'pio' });
    expect(findOverlaps([range(0, 4), range(4, 4), pio, range(0, 4, { dynamic: true })])).toEqual([]);
  });

  it('are those that comparing all with all finds', () => {
    const any = fc.record({
      base: fc.nat(60),
      size: fc.integer({ min: 1, max: 20 }),
      space: fc.constantFrom('pio' as const, 'mmio' as const),
      widths: fc.constantFrom(1, 4, 15),
    });
    fc.assert(
      fc.property(fc.array(any, { maxLength: 12 }), (given) => {
        const ranges = given.map(({ base, size, ...more }) => range(base, size, more));
        const naive = ranges.flatMap((a, i) =>
          ranges.slice(i + 1).flatMap((b) => (rangesOverlap(a, b) ? [[a, b]] : [])),
        );
        const found = overlappingPairs(ranges);
        expect(new Set(found.map((pair) => pair.map((one) => ranges.indexOf(one)).join()))).toEqual(
          new Set(naive.map((pair) => pair.map((one) => ranges.indexOf(one)).join())),
        );
        expect(found).toHaveLength(naive.length);
      }),
    );
  });
});
