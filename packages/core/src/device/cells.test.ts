import fc from 'fast-check';
import { describe, expect, it } from 'vitest';
import { bool, bytes, type CellSpec, Fifo, f64, fifo, oneOf, timer, u8, u16, u32, u53 } from './cells.js';
import { state } from './state.js';

const assign = (cell: CellSpec<unknown, boolean>, value: unknown) => {
  const made = state({ cell });
  (made as { cell: unknown }).cell = value;
  return made.cell;
};

describe('a number cell', () => {
  it.each<[string, CellSpec<number, true>, number, number]>([
    ['u8', u8(), 0x1ff, 0xff],
    ['u8', u8(), -1, 0xff],
    ['u16', u16(), 0x1_2345, 0x2345],
    ['u32', u32(), -1, 0xffff_ffff],
    ['u32', u32(), 2 ** 32 + 5, 5],
    ['u53', u53(), 2 ** 53 - 1, 2 ** 53 - 1],
    ['f64', f64(), -0.25, -0.25],
  ])('%s takes %4$s', (_name, cell, value, expected) => {
    expect(assign(cell, value)).toBe(expected);
  });

  it.each<[string, CellSpec<unknown, boolean>, unknown]>([
    ['a fraction in u8', u8(), 0.5],
    ['NaN in u16', u16(), Number.NaN],
    ['text in u32', u32(), '5'],
    ['2^53 in u53', u53(), 2 ** 53],
    ['a negative u53', u53(), -1],
    ['infinity in f64', f64(), Number.POSITIVE_INFINITY],
    ['1 in bool', bool(), 1],
    ['an unknown name', oneOf('a', 'b'), 'c'],
    ['an object that has no text', oneOf('a', 'b'), Object.create(null)],
  ])('refuses %s', (_what, cell, value) => {
    expect(() => assign(cell, value)).toThrow(expect.objectContaining({ code: 'TL_STATE_VALUE' }));
  });

  it('must begin as something it can hold', () => {
    expect(() => u8(256)).toThrow(/cannot begin as 256/);
    expect(() => f64(Number.NaN)).toThrow(/cannot begin/);
  });
});

describe('a first-in first-out queue', () => {
  it('is an array that drops what does not fit', () => {
    const step = fc.option(fc.nat(255), { freq: 3 });
    fc.assert(
      fc.property(fc.integer({ min: 1, max: 5 }), fc.array(step, { maxLength: 40 }), (capacity, steps) => {
        const queue = new Fifo(capacity);
        const model: number[] = [];
        for (const byte of steps) {
          if (byte === null) expect(queue.shift()).toBe(model.shift());
          else {
            expect(queue.push(byte)).toBe(model.length < capacity);
            if (model.length < capacity) model.push(byte);
          }
          expect([...queue.toArray()]).toEqual(model);
          expect([queue.length, queue.full, queue.peek()]).toEqual([model.length, model.length === capacity, model[0]]);
          expect([0, 1, 9].map((i) => queue.at(i))).toEqual([model[0], model[1], undefined]);
        }
      }),
    );
  });

  it('is a cell used in place', () => {
    const made = state({ rx: fifo(2) });
    made.rx.push(1);
    expect(() => {
      (made as { rx: unknown }).rx = new Fifo(1);
    }).toThrow(/used in place/);
    expect([...made.rx.toArray()]).toEqual([1]);
  });
});

describe('cells of a device made by hand', () => {
  it('have no machine whose time a timer could follow', () => {
    const made = state({ t: timer(() => {}) });
    expect(() => made.t.after(5)).toThrow(expect.objectContaining({ code: 'TL_TIMER' }));
    made.t.cancel();
    expect(made.t.armed).toBe(false);
  });

  it('keep bytes in place and give them as base 16', () => {
    const made = state({ data: bytes(3) });
    made.data.set([1, 0xab]);
    expect(made.data).toEqual(Uint8Array.of(1, 0xab, 0));
  });
});
