import fc from 'fast-check';
import { describe, expect, it } from 'vitest';
import { Cell, owned } from '../../test/ranges.js';
import { rangesOverlap } from '../bus/range.js';
import type { ClientRange } from './client.js';
import { RangeSet } from './range-set.js';

const pio = { space: 'pio' } as const;
const decode = (set: RangeSet, port: number, log = 0) => set.ranges[(set.pio[log]?.lookup(port) ?? 0) - 1]?.owner;

describe('a set of ranges', () => {
  it('adds nothing if one range is refused or overlaps', () => {
    const set = new RangeSet();
    set.add([owned(0x10, 4, new Cell(), pio)]);
    expect(() => set.add([owned(0x20, 4, new Cell(), pio), owned(0x13, 4, new Cell(), pio)])).toThrow(/overlaps at16/);
    expect(() => set.add([owned(0x30, 4, new Cell(), pio), owned(0, 0, new Cell(), pio)])).toThrow(/no size/);
    expect(set.list().map(({ base }) => base)).toEqual([0x10]);
    expect(decode(set, 0x20)).toBeUndefined();
  });

  it('shares a decoder with a set that decodes alike, and not what happens to it', () => {
    const [one, other] = [new RangeSet(), new RangeSet()];
    for (const set of [one, other]) set.add([owned(0x40, 4, new Cell(), pio)]);
    expect(one.pio[0]).toBe(other.pio[0]);
    one.remove(() => true);
    expect([decode(one, 0x40), decode(other, 0x40)]).toEqual([undefined, 'at64']);
    one.add([owned(0x40, 2, new Cell(), pio)]);
    expect([decode(one, 0x43), decode(other, 0x43)]).toEqual([undefined, 'at64']);
  });

  it('decodes a width-qualified range for its sizes only', () => {
    const set = new RangeSet();
    set.add([
      owned(0xcf8, 4, new Cell(), { ...pio, widths: 4, owner: 'cf8' }),
      owned(0xcf9, 1, new Cell(), { ...pio, widths: 1, owner: 'cf9' }),
    ]);
    expect([0, 1, 2].map((log) => decode(set, 0xcf8, log))).toEqual([undefined, undefined, 'cf8']);
    expect([0, 1, 2].map((log) => decode(set, 0xcf9, log))).toEqual(['cf9', undefined, 'cf8']);
  });

  it('lets a fixed range win over a dynamic one, whichever came first', () => {
    for (const fixedFirst of [true, false]) {
      const set = new RangeSet();
      const fixed = owned(0x12, 2, new Cell(), { ...pio, owner: 'fixed' });
      const bar = owned(0x10, 8, new Cell(), { ...pio, dynamic: true, owner: 'bar' });
      const told = (fixedFirst ? [fixed, bar] : [bar, fixed]).flatMap((range) => set.add([range]));
      expect(told).toEqual([{ range: bar, under: fixed }]);
      expect([0x10, 0x12, 0x13, 0x14].map((port) => decode(set, port))).toEqual(['bar', 'fixed', 'fixed', 'bar']);
    }
  });

  it('lets an earlier dynamic range win over a later one, also when the later uses an entry again', () => {
    const set = new RangeSet();
    const gone = owned(0x80, 4, new Cell(), { ...pio, dynamic: true });
    const early = owned(0x10, 8, new Cell(), { ...pio, dynamic: true, owner: 'early' });
    const late = owned(0x14, 8, new Cell(), { ...pio, dynamic: true, owner: 'late' });
    set.add([gone, early]);
    set.remove((range) => range === gone);
    expect(set.add([late])).toEqual([{ range: late, under: early }]);
    expect([0x10, 0x14, 0x18].map((port) => decode(set, port))).toEqual(['early', 'early', 'late']);
  });

  it('reports an overlap once, when it comes to be, and counts it', () => {
    const set = new RangeSet();
    const one = owned(0, 8, new Cell(), { dynamic: true });
    set.add([one]);
    expect(set.add([owned(4, 8, new Cell(), { dynamic: true })])).toHaveLength(1);
    expect(set.add([owned(0x100, 8, new Cell())])).toEqual([]);
    expect(set.shadowed).toBe(1);
    expect(set.overlapping).toBe(true);
    set.remove((range) => range === one);
    expect(set.overlapping).toBe(false);
  });

  it('starts a range anew when its entry was used before', () => {
    const set = new RangeSet();
    const first = owned(0, 4, new Cell());
    set.add([first]);
    set.f64.fill(9, 8, 16);
    set.remove(() => true);
    const second = owned(8, 4, new Cell());
    set.add([second]);
    expect(set.counters(second)).toEqual({
      reads: 0,
      writes: 0,
      bytesRead: 0,
      bytesWritten: 0,
      samples: 0,
      sampledMs: 0,
    });
  });

  it('starts a range anew also when an access of the one that left is counted late', () => {
    const set = new RangeSet();
    set.add([owned(0, 4, new Cell())]);
    set.remove(() => true);
    set.f64.fill(9, 8, 16);
    const second = owned(8, 4, new Cell());
    set.add([second]);
    expect(set.counters(second).samples).toBe(0);
  });

  it('keeps no handler of ranges that left, and grows no longer when as many come as go', () => {
    const set = new RangeSet();
    const [stays, shared] = [new Cell(1), new Cell(2)];
    set.add([owned(0, 4, stays), owned(0x10, 4, shared), owned(0x20, 4, shared)]);
    for (let i = 0; i < 1000; i++) {
      const [one, two] = [new Cell(i), new Cell(i)];
      set.add([owned(0x100, 4, one), owned(0x200, 4, two), owned(0x300, 4, one)]);
      const handlerAt = (address: number) =>
        set.handlers[set.u32[(set.mmio[2]?.lookup(address, 0) ?? 0) * 16 + 10] as number];
      expect([0, 0x10, 0x20, 0x100, 0x200, 0x300].map(handlerAt)).toEqual([stays, shared, shared, one, two, one]);
      set.remove(({ base }) => base === 0x100);
      expect(handlerAt(0x300)).toBe(one);
      set.remove(({ base }) => base >= 0x200);
      expect(set.handlers.includes(one) || set.handlers.includes(two)).toBe(false);
    }
    expect([set.handlers.length, set.ranges.length]).toEqual([4, 6]);
  });

  it('keeps the counters of other ranges while it grows', () => {
    const set = new RangeSet();
    const first = owned(0, 4, new Cell());
    set.add([first]);
    (set.f64[8 + 1] as number) = 5;
    set.add(Array.from({ length: 500 }, (_, i) => owned(0x1000 + 4 * i, 4, new Cell())));
    expect(set.counters(first).reads).toBe(5);
  });

  it('lists ranges by space and address', () => {
    const set = new RangeSet();
    set.add([owned(8, 4, new Cell()), owned(0, 4, new Cell()), owned(0x3f8, 8, new Cell(), pio)]);
    expect(set.list().map(({ space, base }) => `${space} ${base}`)).toEqual(['pio 1016', 'mmio 0', 'mmio 8']);
    expect(set.list('mmio')).toHaveLength(2);
  });

  it('decodes like a naive list of ranges, however they come and go', () => {
    const step = fc.record({
      remove: fc.option(fc.nat(7), { freq: 3 }),
      base: fc.nat(40),
      size: fc.integer({ min: 1, max: 12 }),
      dynamic: fc.boolean(),
    });
    fc.assert(
      fc.property(fc.array(step, { maxLength: 16 }), (steps) => {
        const set = new RangeSet();
        let model: ClientRange[] = [];
        for (const { remove, base, size, dynamic } of steps) {
          const gone = remove === null ? undefined : model[remove];
          if (gone) set.remove((range) => range === gone);
          model = model.filter((range) => range !== gone);
          const range = owned(base, size, new Cell(), { ...pio, dynamic });
          const clash = !dynamic && model.some((other) => !other.dynamic && rangesOverlap(other, range));
          if (clash) expect(() => set.add([range])).toThrow(/overlaps/);
          else {
            set.add([range]);
            model.push(range);
          }
          for (let port = 0; port < 56; port++) {
            const inside = model.filter((other) => port >= other.base && port < other.base + other.size);
            const winner = inside.find((other) => !other.dynamic) ?? inside[0];
            expect(set.ranges[(set.pio[0]?.lookup(port) ?? 0) - 1]).toBe(winner);
          }
        }
      }),
    );
  });
});
