import { describe, expect, it } from 'vitest';
import { HostRandom, SeededRandom } from './random.js';

describe('randomness', () => {
  it('is the same again for the same seed, and different for another', () => {
    const take = (seed: number) => {
      const random = new SeededRandom(seed);
      return Array.from({ length: 8 }, () => random.u32());
    };
    expect(take(1)).toEqual(take(1));
    expect(take(1)).not.toEqual(take(2));
    expect(new Set(take(0)).size).toBe(8);
  });

  it.each([new SeededRandom(3), new HostRandom()])('gives unsigned numbers and bytes of any length', (random) => {
    const numbers = Array.from({ length: 100 }, () => random.u32());
    expect(numbers.every((value) => value === value >>> 0)).toBe(true);
    expect(random.bytes(100_000).some((byte, i, all) => byte !== all[i % 7])).toBe(true);
    expect(random.bytes(0)).toHaveLength(0);
  });

  it.each([-1, 0.5, Number.NaN, 2 ** 20 + 1, 2 ** 40])('refuses %s bytes before it allocates them', (length) => {
    for (const random of [new SeededRandom(1), new HostRandom()]) {
      expect(() => random.bytes(length)).toThrow(expect.objectContaining({ code: 'TL_STATE_VALUE' }));
    }
  });
});
