import fc from 'fast-check';
import { describe, expect, it, vi } from 'vitest';
import { drive } from '../testing/drive.js';
import { Device, Mmio } from './decorators.js';
import { type Access, array, bit, bits, type Field, indexed, type LayoutSpec, layout, reg } from './layout.js';
import { REGISTERS, type Registers } from './register-types.js';
import { registers } from './registers.js';

const block = (regs: Registers) => regs[REGISTERS];
const MODES: Access[] = ['rw', 'ro', 'wo', 'w1c', 'w1s', 'w0c', 'rc', 'const', 'reserved', 'unimplemented'];

/** One register as single bits: the slow and obvious way. */
class BitModel {
  readonly value: number[];
  /** Bytes whose access has side effects. */
  readonly effects = new Set<number>();
  calls = 0;
  constructor(
    readonly modes: readonly (Access | 'none')[],
    readonly starts: readonly number[],
    reset: bigint,
  ) {
    this.value = modes.map((_, i) => Number((reset >> BigInt(i)) & 1n));
    for (const start of starts) this.effects.add(start >> 3);
  }
  touch(bytes: readonly number[]): void {
    if (bytes.some((byte) => this.effects.has(byte))) this.calls++;
  }
  readBit(i: number): number {
    const value = this.modes[i] === 'wo' ? 0 : (this.value[i] as number);
    if (this.modes[i] === 'rc') this.value[i] = 0;
    return value;
  }
  writeBit(i: number, given: number): void {
    const old = this.value[i] as number;
    const next: Partial<Record<string, number>> = {
      rw: given,
      wo: given,
      unimplemented: given,
      w1c: given ? 0 : old,
      w1s: given ? 1 : old,
      w0c: given ? old : 0,
    };
    this.value[i] = next[this.modes[i] as string] ?? old;
  }
}

/** Fields from a list of widths: every other one is left undeclared if `gaps`. */
const registerSpec = fc.record({
  access: fc.constantFrom(...MODES),
  reset: fc.nat(0xffff_ffff),
  cuts: fc.array(fc.record({ length: fc.integer({ min: 1, max: 12 }), mode: fc.option(fc.constantFrom(...MODES)) }), {
    maxLength: 5,
  }),
  gap: fc.boolean(),
});
const block2 = fc.record({
  width: fc.constantFrom(1 as const, 2 as const, 4 as const),
  regs: fc.array(registerSpec, { minLength: 1, maxLength: 4 }),
});
type BlockSpec = typeof block2 extends fc.Arbitrary<infer T> ? T : never;

function build({ width, regs }: BlockSpec) {
  const models: BitModel[] = [];
  const writes: number[] = regs.map(() => 0);
  const spec: Record<string, ReturnType<typeof reg>> = {};
  const hooks: Record<string, unknown> = {};
  for (const [r, { access, reset, cuts, gap }] of regs.entries()) {
    const fields: Record<string, Field> = {};
    const modes: (Access | 'none')[] = Array.from({ length: width * 8 }, () => (cuts.length > 0 ? 'none' : access));
    const starts = cuts.length > 0 ? [] : [0];
    let lo = 0;
    for (const [i, { length, mode }] of cuts.entries()) {
      const hi = Math.min(lo + length, width * 8) - 1;
      if (hi < lo) break;
      if (!gap || i % 2 === 0) {
        fields[`f${i}`] = bits(hi, lo, { access: mode ?? undefined });
        modes.fill(mode ?? access, lo, hi + 1);
        starts.push(lo);
      }
      lo = hi + 1;
    }
    const value = reset % 2 ** (8 * width);
    spec[`r${r}`] = reg(r * width, { access, reset: value, fields });
    hooks[`r${r}`] = { write: () => (writes[r] as number)++ };
    models.push(new BitModel(modes, starts, BigInt(value)));
  }
  return { made: registers(layout({ width, regs: spec } as LayoutSpec), hooks as never), models, writes, width };
}

const access = fc.record({
  write: fc.boolean(),
  at: fc.nat(15),
  size: fc.constantFrom(1, 2, 4),
  value: fc.nat(0xffff_ffff),
});

describe('a register block', () => {
  it('does to every bit what its mode says, for all accesses', () => {
    fc.assert(
      fc.property(block2, fc.array(access, { maxLength: 12 }), (spec, accesses) => {
        const { made, models, writes, width } = build(spec);
        const size = models.length * width;
        for (const one of accesses) {
          const at = one.at % size;
          let expected = 0;
          for (const [r, model] of models.entries()) {
            const inside = Array.from({ length: one.size }, (_, i) => at + i - r * width);
            const bytes = inside.filter((byte) => byte >= 0 && byte < width);
            if (one.write) model.touch(bytes);
            for (const byte of bytes) {
              for (let b = 0; b < 8; b++) {
                const bus = (byte + r * width - at) * 8 + b;
                if (one.write) model.writeBit(byte * 8 + b, (one.value >>> bus) & 1);
                else expected += model.readBit(byte * 8 + b) * 2 ** bus;
              }
            }
          }
          const masked = one.size === 4 ? one.value : one.value & (2 ** (8 * one.size) - 1);
          if (one.write) block(made).write(at, one.size, masked);
          else expect(block(made).read(at, one.size)).toBe(expected);
        }
        for (const [r, model] of models.entries()) {
          const stored = model.value.reduce((sum, set, i) => sum + set * 2 ** i, 0);
          expect((block(made).cells[r] as number) >>> 0).toBe(stored);
          expect(writes[r]).toBe(model.calls);
        }
      }),
      { numRuns: 500 },
    );
  });

  it('peeks what a read would give, and changes nothing', () => {
    fc.assert(
      fc.property(block2, fc.nat(15), fc.constantFrom(1, 2, 4), (spec, at, size) => {
        const { made } = build(spec);
        const before = block(made).cells.slice();
        const peeked = block(made).peek(at, size);
        expect(block(made).cells).toEqual(before);
        expect(block(made).read(at, size)).toBe(peeked);
      }),
    );
  });

  it('saves and restores to the same bits, and resets to the first ones', () => {
    fc.assert(
      fc.property(block2, fc.array(access, { maxLength: 8 }), (spec, accesses) => {
        const [a, b] = [build(spec).made, build(spec).made];
        const fresh = block(a).cells.slice();
        for (const { at, size, value } of accesses) block(a).write(at, size, value % 2 ** (8 * size));
        block(b).check(JSON.parse(JSON.stringify(block(a).save())), 'x')();
        expect(block(b).cells).toEqual(block(a).cells);
        block(a).reset();
        expect(block(a).cells).toEqual(fresh);
      }),
    );
  });

  it('clears on read in two halves what it clears in one', () => {
    const make = () => registers(layout({ width: 2, regs: { r: reg(0, { access: 'rc', reset: 0xabcd }) } }), {});
    const [whole, split] = [make(), make()];
    expect(block(whole).read(0, 2)).toBe(0xabcd);
    expect([block(split).read(0, 1), block(split).read(1, 1)]).toEqual([0xcd, 0xab]);
    expect([block(whole).peek(0, 2), block(split).peek(0, 2)]).toEqual([0, 0]);
  });
});

describe('hooks', () => {
  it('fire once per access, when the lowest byte of a field is in it', () => {
    const write = vi.fn();
    const made = registers(
      layout({ width: 4, regs: { r: reg(0, { fields: { low: bits(15, 0), high: bits(31, 16) } }) } }),
      { r: { write } },
    );
    const calls = [0, 1, 2, 3].map((at) => {
      write.mockClear();
      block(made).write(at, 1, 0);
      return write.mock.calls.length;
    });
    expect(calls).toEqual([1, 0, 1, 0]);
    write.mockClear();
    block(made).write(0, 4, 0x1234_5678);
    expect(write.mock.calls).toEqual([[0x1234_5678, 0, -1]]);
  });

  it('see the merged value and the old one, after it was stored', () => {
    const seen: unknown[] = [];
    const made = registers(layout({ width: 1, regs: { r: reg(0, { access: 'w1c', reset: 0xf }) } }), {
      r: { write: (value, old) => seen.push(value, old, made.r.value) },
    });
    block(made).write(0, 1, 0x3);
    expect(seen).toEqual([0xc, 0xf, 0xc]);
  });

  it('replace what is stored on a read, but not const bits', () => {
    const made = registers(
      layout({
        width: 1,
        regs: { r: reg(0, { reset: 0x80, fields: { id: bit(7, { access: 'const' }), n: bits(6, 0) } }) },
      }),
      { r: { read: () => 0x15, peek: () => 0x16 } },
    );
    expect(block(made).peek(0, 1)).toBe(0x16);
    expect(block(made).read(0, 1)).toBe(0x95);
    expect(made.r.n).toBe(0x15);
  });

  it.each([-1, 256, 1.5, Number.NaN, undefined, '5', Promise.resolve(5)])('may not read as %o', (value) => {
    const made = registers(layout({ width: 1, regs: { r: reg(0, {}) } }), { r: { read: () => value as number } });
    expect(() => block(made).read(0, 1)).toThrow(/the read hook of r returned/);
  });

  it('may not write later', () => {
    const later = () => Promise.reject(new Error('unheard'));
    const made = registers(layout({ width: 1, regs: { r: reg(0, {}) } }), { r: { write: later as never } });
    expect(() => block(made).write(0, 1, 0)).toThrow(/the write hook of r returned a promise/);
  });

  it('for registers that do not exist are refused', () => {
    const made = layout({ width: 1, regs: { r: reg(0, {}) } });
    expect(() => registers(made, { q: {} } as never)).toThrow(/hook for q/);
  });

  it('of an array get the index of the element', () => {
    const seen: number[] = [];
    const made = registers(layout({ width: 1, regs: { a: array(3, 2, reg(0, {})) } }), {
      a: { write: (_value, _old, element) => seen.push(element) },
    });
    block(made).write(4, 1, 9);
    expect([seen, made.a.map(({ value }) => value)]).toEqual([[2], [0, 0, 9]]);
  });
});

describe('banks', () => {
  const make = () =>
    registers(
      layout({
        width: 1,
        bank: 'lcr.dlab',
        regs: {
          rx: reg(0, { access: 'ro', bank: 0, reset: 0x11 }),
          tx: reg(0, { access: 'wo', bank: 0 }),
          dll: reg(0, { bank: 1, reset: 0x0c }),
          lcr: reg(1, { fields: { dlab: bit(7), rest: bits(6, 0) } }),
        },
      }),
      {},
    );

  it('are chosen by their field: by the guest, the device, a reset and a restore', () => {
    const made = make();
    expect(block(made).read(0, 1)).toBe(0x11);
    block(made).write(0, 1, 0x55);
    expect([made.rx.value, made.tx.value]).toEqual([0x11, 0x55]);
    block(made).write(1, 1, 0x80);
    expect(block(made).read(0, 1)).toBe(0x0c);
    const saved = block(made).save();
    made.lcr.dlab = false;
    expect(block(made).read(0, 1)).toBe(0x11);
    block(made).check(saved, 'x')();
    expect(block(made).read(0, 1)).toBe(0x0c);
    block(made).reset();
    expect(block(made).read(0, 1)).toBe(0x11);
  });

  it('switch in the middle of a wide access, low byte first', () => {
    const made = registers(
      layout({
        width: 1,
        bank: 'sel.b',
        regs: { sel: reg(0, { fields: { b: bit(0) } }), a: reg(1, { bank: 0 }), b: reg(1, { bank: 1 }) },
      }),
      {},
    );
    block(made).write(0, 2, 0x7701);
    expect([made.a.value, made.b.value]).toEqual([0, 0x77]);
  });
});

describe('indexed banks', () => {
  it('reach a register through index and data, masked, and report what is not there', () => {
    const CMOS = layout({
      width: 1,
      regs: {
        cmos: indexed({
          index: 0,
          data: 1,
          mask: 0x7f,
          regs: { sec: reg(5, { reset: 9 }), id: reg(6, { access: 'ro' }) },
        }),
      },
    });
    @Device({ type: 'cmos', summary: '' })
    class Cmos {
      @Mmio({ base: 0x1000 }) readonly regs = registers(CMOS, {});
    }
    const t = drive(Cmos);
    const regs = block(t.device.regs as unknown as Registers);
    regs.write(0, 1, 0x85);
    expect([regs.read(0, 1), regs.read(1, 1)]).toEqual([0x85, 9]);
    regs.write(1, 1, 0x21);
    expect(t.device.regs.cmos.sec.value).toBe(0x21);
    regs.write(0, 1, 0x70);
    expect(regs.read(1, 1)).toBe(0);
    expect(t.log.at(-1)).toMatchObject({ about: 'unimplemented', message: 'read of index 0x70' });
    expect(regs.save()).toEqual({ 'cmos.index': 0x70, 'cmos.sec': 0x21, 'cmos.id': 0 });
  });
});

describe('what a guest does wrong', () => {
  const WRONG = layout({
    width: 4,
    size: 16,
    regs: {
      mode: reg(0, { fields: { m: bits(1, 0, { 0: 'off', 1: 'on' }), z: bits(31, 2, { access: 'reserved' }) } }),
      todo: reg(4, { access: 'unimplemented' }),
    },
  });
  @Device({ type: 'wrong', summary: '' })
  class Wrong {
    @Mmio({ base: 0x1000 }) readonly regs = registers(WRONG, {});
  }

  it.each<[string, 'guest-error' | 'unimplemented', (t: ReturnType<typeof drive<typeof Wrong>>) => void]>([
    ['a value without a name', 'guest-error', (t) => t.guest.regs.mode.write(3)],
    ['a change of reserved bits', 'guest-error', (t) => t.guest.regs.mode.write(4)],
    ['an unimplemented register', 'unimplemented', (t) => t.guest.regs.todo.write(1)],
    ['an offset without a register', 'unimplemented', (t) => t.vm.devices],
  ])('is reported: %s', (what, about, act) => {
    const t = drive(Wrong);
    act(t);
    if (what.startsWith('an offset')) block(t.device.regs as unknown as Registers).write(8, 4, 1);
    expect(t.log.at(-1)?.about).toBe(about);
    expect(t.failure).toBeUndefined();
    expect(t.device.regs.mode.m).toBe('off');
  });

  it('leaves the rest of its write standing', () => {
    const t = drive(Wrong);
    t.guest.regs.mode.write(1);
    t.guest.regs.mode.write(0xffff_fffe);
    expect(t.guest.regs.mode.read()).toBe(1);
  });
});

describe('the device side', () => {
  it('is typed by its fields and bound by const alone', () => {
    const made = registers(
      layout({
        width: 4,
        regs: {
          r: reg(0, {
            access: 'ro',
            reset: 0x10,
            fields: { on: bit(0), n: bits(3, 1), m: bits(5, 4, { 0: 'a', 1: 'b' }) },
          }),
          id: reg(4, { access: 'const', reset: 7 }),
        },
      }),
      {},
    );
    made.r.on = true;
    made.r.n = 15;
    made.r.m = 'a';
    expect([made.r.value, made.r.on, made.r.n, made.r.m]).toEqual([0xf, true, 7, 'a']);
    (made.id as { value: number }).value = 9;
    expect(made.id.value).toBe(7);
    expect(() => {
      made.r.value = Number.NaN;
    }).toThrow(/cannot hold NaN/);
    expect(() => {
      (made.r as { m: string }).m = 'c';
    }).toThrow(/no value c/);
  });
});

describe('restored registers', () => {
  const make = () =>
    registers(
      layout({
        width: 1,
        regs: {
          a: reg(0, {}),
          e: reg(1, { fields: { m: bits(1, 0, { 0: 'x', 2: 'y' }), c: bit(7, { access: 'const' }) } }),
        },
      }),
      {},
    );

  it.each<[string, unknown]>([
    ['nothing', null],
    ['text', 'a'],
    ['a missing register', { a: 1 }],
    ['a register nobody has', { a: 1, e: 0, f: 0 }],
    ['a value that does not fit', { a: 256, e: 0 }],
    ['a negative value', { a: -1, e: 0 }],
    ['a fraction', { a: 0.5, e: 0 }],
    ['text for a number', { a: '1', e: 0 }],
    ['what has no text', { a: { toString: 1, valueOf: 1 }, e: 0 }],
    ['a value without a name', { a: 1, e: 1 }],
    ['a change of const bits', { a: 1, e: 0x80 }],
  ])('are refused with %s, and nothing changes', (_what, saved) => {
    const made = make();
    made.a.value = 5;
    expect(() => block(made).check(saved, 'dev.regs')).toThrow(expect.objectContaining({ code: 'TL_STATE_INVALID' }));
    expect(made.a.value).toBe(5);
  });
});
