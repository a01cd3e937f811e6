import { describe, expect, it } from 'vitest';
import { PioTable } from './pio-table.js';

describe('the port table', () => {
  it('is nobody everywhere while it is empty', () => {
    const table = new PioTable();
    expect([0, 0x3f8, 0xffff].map((port) => table.lookup(port))).toEqual([0, 0, 0]);
  });

  it('gives the latest paint of a port, and nothing outside of any', () => {
    const table = new PioTable([
      { base: 0x10, size: 4, entry: 1 },
      { base: 0x12, size: 4, entry: 2 },
      { base: 0xffff, size: 1, entry: 3 },
    ]);
    expect([0xf, 0x10, 0x11, 0x12, 0x15, 0x16, 0xffff].map((port) => table.lookup(port))).toEqual([
      0, 1, 1, 2, 2, 0, 3,
    ]);
  });

  it('does not share what it paints with other tables', () => {
    new PioTable([{ base: 0, size: 0x1_0000, entry: 7 }]);
    expect(new PioTable().lookup(0)).toBe(0);
  });
});
