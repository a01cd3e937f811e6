import fc from 'fast-check';
import { describe, expect, it } from 'vitest';
import { Cell, dispatcherRig, owned } from '../../test/ranges.js';
import type { IoHandler } from '../device/handler.js';
import { REQUEST, SLOT_WORDS, WORD } from './layout.js';

const read = (address: number, size = 4) => ({ type: 'mmio', direction: 'read', address, size }) as const;
const write = (address: number, valueLow: number, size = 4) =>
  ({ type: 'mmio', direction: 'write', address, size, valueLow }) as const;
const inb = (address: number, size = 1) => ({ type: 'pio', direction: 'read', address, size }) as const;
const pio = { space: 'pio' } as const;

const unaskable = new Proxy(
  {},
  {
    getPrototypeOf() {
      throw new Error('no');
    },
  },
);

/** What plugins do. */
const mischief: Record<string, () => unknown> = {
  'throws an error': () => {
    throw new Error('no');
  },
  'throws a string': () => {
    throw 'no';
  },
  'throws undefined': () => {
    throw undefined;
  },
  'throws what has no text': () => {
    throw Object.create(null);
  },
  'throws an error whose message throws': () => {
    throw Object.defineProperty(new Error(), 'message', {
      get() {
        throw new Error('deeper');
      },
    });
  },
  'throws an error whose message is no text': () => {
    throw Object.assign(new Error(), { message: Symbol('text') });
  },
  'throws what cannot even be asked what it is': () => {
    throw unaskable;
  },
  'returns what cannot even be asked what it is': () => unaskable,
  'returns a promise whose catch throws': () =>
    Object.assign(Promise.resolve(5), {
      catch() {
        throw new Error('no');
      },
    }),
  'returns NaN': () => Number.NaN,
  'returns undefined': () => undefined,
  'returns null': () => null,
  'returns a string': () => '5',
  'returns 2^33': () => 2 ** 33,
  'returns a fraction': () => 0.5,
  'returns a bigint': () => 5n,
  'returns a symbol': () => Symbol('five'),
  'returns an object': () => ({ valueOf: () => 5 }),
  'returns an object that throws': () => ({
    valueOf() {
      throw new Error('no');
    },
  }),
  'returns a promise': () => Promise.resolve(5),
  'returns a promise that fails': () => Promise.reject(new Error('unheard')),
};
const names = Object.keys(mischief);
const throwing = (name: string) => name.startsWith('throws') || name.includes('promise');

describe('a claimed slot', () => {
  it.each(names)('is completed once with all ones when the handler of a read %s', (name) => {
    for (const impl of [{}, { min: 2 as const }]) {
      const handler = { read: mischief[name], write: () => {} } as IoHandler;
      const good = new Cell(7);
      const rig = dispatcherRig([owned(0x10, 4, handler, { impl }), owned(0x20, 4, good)]);
      expect(rig.request(2, read(0x10, 1)).valueLow).toBe(0xffff_ffff);
      expect(rig.completed).toEqual([2]);
      expect(rig.failures).toMatchObject([{ who: 'at16' }]);
      expect(rig.request(0, read(0x20)).valueLow).toBe(7);
    }
  });

  it.each(names)('is completed once when the handler of a write %s', (name) => {
    const handler = { read: () => 0, write: mischief[name] } as unknown as IoHandler;
    const rig = dispatcherRig([owned(0x10, 4, handler)]);
    rig.request(15, write(0x10, 1));
    expect(rig.completed).toEqual([15]);
    expect(rig.failures).toHaveLength(throwing(name) ? 1 : 0);
  });

  it('is completed once each, for every bitmap', () => {
    fc.assert(
      fc.property(fc.integer({ min: 1, max: 0xffff }), fc.constantFrom(...names), (bitmap, name) => {
        const rig = dispatcherRig([
          owned(0, 4, { read: mischief[name], write: () => {} } as IoHandler),
          owned(4, 4, new Cell(1)),
        ]);
        for (let slot = 0; slot < 16; slot++) rig.page.encode(slot, read((slot % 3) * 4));
        rig.dispatcher.serve(bitmap);
        const claimed = Array.from({ length: 16 }, (_, slot) => slot).filter((slot) => bitmap & (1 << slot));
        expect(rig.completed).toEqual(claimed);
      }),
    );
  });

  it.each([
    [-1, 1],
    [-1, 2],
    [256, 1],
    [65536, 2],
  ])('reads all ones when the value is %i for %i bytes', (value, size) => {
    const rig = dispatcherRig([owned(0, 4, new Cell(value))]);
    expect(rig.request(0, read(0, size)).valueLow).toBe(0xffff_ffff);
    expect(rig.failures[0]).toMatchObject({ code: 'TL_DEVICE_VALUE', details: { offset: 0, size, value } });
  });
});

describe('a failed device', () => {
  const failed = () => {
    let calls = 0;
    const handler: IoHandler = {
      read: () => {
        calls++;
        throw new Error('broken');
      },
      write: () => {
        calls++;
      },
    };
    const rig = dispatcherRig([owned(0x10, 4, handler)]);
    rig.request(0, read(0x10));
    return { rig, calls: () => calls };
  };

  it('is named with what it did', () => {
    const { rig } = failed();
    expect(rig.failures[0]).toMatchObject({
      code: 'TL_DEVICE_HANDLER',
      who: 'at16',
      what: 'read of 4 at offset 0x0: threw broken',
    });
  });

  it('reads all ones, drops writes and is not asked again', () => {
    const { rig, calls } = failed();
    expect(rig.request(0, read(0x10, 1)).valueLow).toBe(0xffff_ffff);
    rig.request(0, write(0x10, 5));
    expect(calls()).toBe(1);
    expect(rig.failures).toHaveLength(1);
    expect(rig.completed).toEqual([0, 0, 0]);
  });

  it('may have detached itself in the handler that throws', () => {
    const rig = dispatcherRig();
    const leaving = owned(0, 4, {
      read: () => {
        rig.dispatcher.set.remove((range) => range === leaving);
        rig.dispatcher.set.add([owned(8, 4, new Cell(3))]);
        throw new Error('and gone');
      },
      write: () => {},
    });
    rig.dispatcher.set.add([leaving]);
    expect(rig.request(0, read(0)).valueLow).toBe(0xffff_ffff);
    expect(rig.completed).toEqual([0]);
    expect(rig.failures).toEqual([]);
    expect(rig.request(0, read(8)).valueLow).toBe(3);
  });
});

describe('matching', () => {
  it('gives the handler the offset in its range and an unsigned value', () => {
    const cell = new Cell();
    const rig = dispatcherRig([owned(0xd000_0000, 16, cell), owned(2 ** 40, 16, cell)]);
    rig.request(0, write(0xd000_000c, 0xffff_ffff));
    rig.request(0, write(2 ** 40 + 2, 0xffff_ffff, 2));
    rig.request(0, write(2 ** 40 + 3, 0x1234, 1));
    expect(cell.writes).toEqual([
      { offset: 12, size: 4, value: 0xffff_ffff },
      { offset: 2, size: 2, value: 0xffff },
      { offset: 3, size: 1, value: 0x34 },
    ]);
  });

  it('gives a straddle whole to the default client and reports it', () => {
    const cell = new Cell(1);
    const rig = dispatcherRig([owned(0x10, 4, cell), owned(0x14, 4, cell)]);
    expect(rig.request(0, read(0x11)).valueLow).toBe(0xffff_ffff);
    rig.request(0, write(0x16, 9));
    expect(cell.writes).toEqual([]);
    expect(rig.straddles).toEqual([
      { owner: 'at16', address: 0x11, size: 4 },
      { owner: 'at20', address: 0x16, size: 4 },
    ]);
    expect(rig.unclaimed.map(({ straddles }) => straddles)).toEqual(['at16', 'at20']);
    expect(rig.fallback.counters.straddles).toBe(2);
  });

  it('gives what only ends in a range to the default client', () => {
    const rig = dispatcherRig([owned(0x10, 4, new Cell(1))]);
    expect(rig.request(0, read(0xe)).valueLow).toBe(0xffff_ffff);
    expect(rig.straddles).toEqual([]);
  });

  it('sees a fixed range inside a dynamic one, also in the middle of an access', () => {
    const [bar, fixed] = [new Cell(1), new Cell(2)];
    const rig = dispatcherRig([owned(0, 16, bar, { dynamic: true }), owned(5, 1, fixed)]);
    expect(rig.request(0, read(0)).valueLow).toBe(1);
    expect(rig.request(0, read(5, 1)).valueLow).toBe(2);
    expect(rig.request(0, read(4)).valueLow).toBe(0xffff_ffff);
    expect(rig.request(0, read(4, 2)).valueLow).toBe(0xffff_ffff);
    expect(rig.request(0, read(6, 2)).valueLow).toBe(1);
  });

  it('decodes a width-qualified port by the size of the access', () => {
    const rig = dispatcherRig([
      owned(0xcf8, 4, new Cell(8), { ...pio, widths: 4 }),
      owned(0xcf9, 1, new Cell(9), { ...pio, widths: 1 }),
    ]);
    const value = (address: number, size: number) => rig.request(0, inb(address, size)).valueLow;
    expect([value(0xcf8, 4), value(0xcf9, 1), value(0xcf8, 1), value(0xcf9, 2)]).toEqual([
      8, 9, 0xffff_ffff, 0xffff_ffff,
    ]);
  });

  it('never rounds an address of 2^53 or above to somebody', () => {
    const rig = dispatcherRig([owned(2 ** 53 - 16, 15, new Cell(1)), owned(0, 4096, new Cell(2))]);
    const at = (addressHigh: number, addressLow: number, size = 1) =>
      rig.request(0, { ...read(0, size), addressHigh: addressHigh | 0, addressLow: addressLow | 0 }).valueLow;
    expect(at(0x1f_ffff, 0xffff_fffe)).toBe(1);
    expect(at(0x20_0000, 0)).toBe(0xffff_ffff);
    expect(at(0x20_0000, 1)).toBe(0xffff_ffff);
    expect(at(0xffff_ffff, 0xffff_fffc, 8)).toBe(0xffff_ffff);
    expect(at(0x8000_0000, 0)).toBe(0xffff_ffff);
    expect(rig.completed).toHaveLength(5);
  });

  it('gives a port above 64 K to the default client', () => {
    const rig = dispatcherRig([owned(0, 16, new Cell(1), pio)]);
    expect(rig.request(0, inb(0x1_0000)).valueLow).toBe(0xffff_ffff);
    expect(rig.request(0, { ...inb(0), addressHigh: 1 }).valueLow).toBe(0xffff_ffff);
    expect(rig.request(0, inb(0)).valueLow).toBe(1);
  });

  it.each([0, 3, 5, 16, -1, 2 ** 31])('gives an access of %i bytes to the default client', (size) => {
    const cell = new Cell(1);
    const rig = dispatcherRig([owned(0, 64, cell), owned(0, 64, cell, pio)]);
    expect(rig.request(0, read(0, size)).valueLow).toBe(0xffff_ffff);
    expect(rig.request(0, inb(0, size)).valueLow).toBe(0xffff_ffff);
    expect(rig.completed).toEqual([0, 0]);
  });

  it('gives a size with a high half, and 8 bytes of a port, to the default client', () => {
    const rig = dispatcherRig([owned(0, 64, new Cell(1)), owned(0, 64, new Cell(1), pio)]);
    rig.page.encode(0, read(0));
    rig.page.i32[WORD.sizeHigh] = 1;
    rig.dispatcher.serve(1);
    expect(rig.page.decode(0).valueLow).toBe(0xffff_ffff);
    expect(rig.request(0, inb(0, 8)).valueLow).toBe(0xffff_ffff);
  });

  it('fits the whole access in one range of one client, like a naive list', () => {
    const place = fc.record({ base: fc.nat(40), size: fc.integer({ min: 1, max: 12 }), dynamic: fc.boolean() });
    fc.assert(
      fc.property(fc.array(place, { maxLength: 6 }), fc.nat(48), fc.constantFrom(1, 2, 4, 8), (places, at, size) => {
        const ranges = places.map(({ base, size, dynamic }, i) => owned(base, size, new Cell(i), { dynamic }));
        const rig = dispatcherRig();
        const present = ranges.filter((range) => {
          try {
            rig.dispatcher.set.add([range]);
            return true;
          } catch {
            return false;
          }
        });
        const winner = (address: number) => {
          const inside = present.filter(({ base, size }) => address >= base && address < base + size);
          return inside.find(({ dynamic }) => !dynamic) ?? inside[0];
        };
        const bytes = Array.from({ length: size }, (_, i) => winner(at + i));
        const owner = bytes.every((one) => one === bytes[0]) ? bytes[0] : undefined;
        rig.request(0, write(at, 0, size));
        expect(rig.unclaimed).toHaveLength(owner ? 0 : 1);
        expect(rig.straddles).toHaveLength(!owner && bytes[0] ? 1 : 0);
        for (const range of present) {
          const written = (range.adapter.handler as Cell).writes;
          expect(written[0]?.offset).toBe(range === owner ? at - range.base : undefined);
        }
      }),
      { numRuns: 400 },
    );
  });
});

describe('values', () => {
  it('of an 8-byte read are two halves, low half first', () => {
    const offsets: number[] = [];
    const handler: IoHandler = {
      read: (offset) => {
        offsets.push(offset);
        return 0x8000_0000 + offset;
      },
      write: () => {},
    };
    const rig = dispatcherRig([owned(0, 8, handler)]);
    expect(rig.request(0, read(0, 8))).toMatchObject({ valueLow: 0x8000_0000, valueHigh: 0x8000_0004 });
    expect(offsets).toEqual([0, 4]);
  });

  it('fill the whole field of a memory read, whatever an earlier access left there', () => {
    const rig = dispatcherRig([owned(0, 8, new Cell(1))]);
    rig.page.i32.fill(-1, 0, SLOT_WORDS);
    expect(rig.request(0, { ...read(0), valueHigh: 0xffff_ffff })).toMatchObject({ valueLow: 1, valueHigh: 0 });
    expect(rig.request(0, read(0x999, 8))).toMatchObject({ valueLow: 0xffff_ffff, valueHigh: 0xffff_ffff });
  });

  it('of a port leave the bytes behind them alone', () => {
    const rig = dispatcherRig([owned(0, 8, new Cell(1), pio)]);
    rig.page.i32[WORD.valueHigh] = 0x77;
    rig.request(0, inb(0, 4));
    expect(rig.page.i32[WORD.valueHigh]).toBe(0x77);
  });

  it('are all ones in both halves when the second half throws', () => {
    const handler: IoHandler = {
      read: (offset) => {
        if (offset === 4) throw new Error('no');
        return 1;
      },
      write: () => {},
    };
    const rig = dispatcherRig([owned(0, 8, handler)]);
    expect(rig.request(0, read(0, 8))).toMatchObject({ valueLow: 0xffff_ffff, valueHigh: 0xffff_ffff });
  });

  it('of a write stay in the slot', () => {
    const rig = dispatcherRig([owned(0, 8, new Cell(1))]);
    expect(rig.request(0, write(0, 0x1234)).valueLow).toBe(0x1234);
  });
});

describe('requests that match no range', () => {
  it('for PCI configuration go to the default client', () => {
    const rig = dispatcherRig([owned(0xcfc, 4, new Cell(1), pio)]);
    expect(rig.request(1, { type: 'pcicfg', direction: 'read', address: 0xcfc, size: 4 }).valueLow).toBe(0xffff_ffff);
    expect(rig.unclaimed).toHaveLength(1);
    expect(rig.completed).toEqual([1]);
  });

  it('for a write-protected page are dropped and completed', () => {
    const rig = dispatcherRig([owned(0xf_0000, 4096, new Cell(1))]);
    rig.request(2, { type: 'write-protect', direction: 'write', address: 0xf_0000, size: 4, valueLow: 1 });
    expect(rig.unclaimed).toEqual([]);
    expect(rig.completed).toEqual([2]);
  });

  it('of a type nobody knows are completed', () => {
    const rig = dispatcherRig();
    rig.page.encode(0, read(0));
    rig.page.i32[WORD.type] = 17;
    rig.dispatcher.serve(1);
    expect(rig.completed).toEqual([0]);
    expect(REQUEST.WRITE_PROTECT).toBe(3);
  });
});

describe('what a region allows', () => {
  it('is reported when the guest does otherwise, and reads all ones', () => {
    const errors: string[] = [];
    const cell = new Cell(1);
    const range = owned(0, 8, cell, { valid: { min: 2, max: 4, unaligned: false } });
    const rig = dispatcherRig([
      { ...range, client: Object.assign(range.client, { guestError: (m: string) => errors.push(m) }) },
    ]);
    expect(rig.request(0, read(0, 1)).valueLow).toBe(0xffff_ffff);
    expect(rig.request(0, read(0, 8)).valueHigh).toBe(0xffff_ffff);
    rig.request(0, write(1, 5, 2));
    expect(cell.writes).toEqual([]);
    expect(errors).toHaveLength(3);
    expect(errors[2]).toBe('write of 2 bytes at offset 0x1 of at0 is not allowed');
    expect(rig.failures).toEqual([]);
  });
});

describe('counters', () => {
  it('count accesses and bytes, failed ones too', () => {
    const rig = dispatcherRig([owned(0, 8, new Cell(1))]);
    rig.request(0, read(0));
    rig.request(0, read(0, 1));
    rig.request(0, write(0, 1, 8));
    expect(rig.dispatcher.set.counters(rig.dispatcher.set.range(1))).toMatchObject({
      reads: 2,
      writes: 1,
      bytesRead: 5,
      bytesWritten: 8,
    });
    expect(rig.dispatcher.served).toBe(3);
  });

  it('sample every n-th access, and its value is the same', () => {
    const rig = dispatcherRig([owned(0, 8, new Cell(0x80))]);
    rig.dispatcher.sampleEvery = 4;
    for (let i = 0; i < 16; i++) expect(rig.request(0, read(0, 1)).valueLow).toBe(0x80);
    expect(rig.dispatcher.set.counters(rig.dispatcher.set.range(1)).samples).toBe(4);
  });
});

describe('a deferred region', () => {
  const deferred = { handler: new Cell(), deadlineMs: 1, concurrent: false };

  it('is handed over and not completed', () => {
    const rig = dispatcherRig([owned(0x10, 8, new Cell(), { deferred })]);
    rig.request(3, write(0x14, 0xffff_ffff));
    expect(rig.completed).toEqual([]);
    expect(rig.deferred[0]).toMatchObject({ slot: 3, generation: 1, offset: 4, address: 0x14, value: 0xffff_ffff });
    rig.request(3, read(0x100));
    expect(rig.completed).toEqual([3]);
  });

  it('may complete at once, and the vCPU make its next request meanwhile', () => {
    const rig = dispatcherRig([owned(0x10, 8, new Cell(), { deferred }), owned(0x20, 8, new Cell(1))]);
    const hand = rig.deferred as unknown as { push: (request: unknown) => number };
    hand.push = () => {
      rig.completed.push(100);
      rig.request(0, read(0x20));
      return 0;
    };
    rig.request(0, read(0x10));
    expect(rig.completed).toEqual([100, 0]);
  });
});
