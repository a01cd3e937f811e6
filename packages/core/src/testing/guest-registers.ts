// The accessors behind `t.guest.regs.ctrl`: what the types in guest-view.ts promise.
import { type Layout, type LayoutRow, maskOf } from '../device/layout.js';
import type { RegisterBlock } from '../device/register-block.js';
import { TraplineError } from '../errors.js';
import { type GuestRegion, REGION } from './guest-view.js';

type Fields = Readonly<Record<string, unknown>>;
type Branch = Record<string | symbol, unknown>;
type Doors = { index?: LayoutRow; data?: LayoutRow };

/** Where a byte of a layout is on the bus. @param stride bytes from one register to the next */
export function busOffset(layout: Layout, offset: number, stride: number = layout.width): number {
  return Math.floor(offset / layout.width) * stride + (offset % layout.width);
}

/** One object per register of a block's layout, by name. */
export function guestRegisters(block: RegisterBlock, plain: GuestRegion, stride: number): Branch {
  const { layout } = block;
  const root: Branch = { [REGION]: plain };
  const doors = new Map<number, Doors>();
  for (const row of layout.rows) {
    if (row.door === 'index' || row.door === 'data') doors.set(row.group, { ...doors.get(row.group), [row.door]: row });
  }
  for (const [r, row] of layout.rows.entries()) {
    if (row.door === 'index' || row.door === 'data') continue;
    const branch = row.path.slice(0, -1).reduce((at, key) => child(at, key, {}), root);
    const leaf = row.path.at(-1) as string;
    const peek = () => block.peekRow(r);
    const register = { ...guestRegister(row, layout, plain, stride, doors.get(row.group) ?? {}), peek };
    if (row.element < 0) branch[leaf] = register;
    else child<unknown[]>(branch, leaf, []).push(register);
  }
  return root;
}

function child<T = Branch>(branch: Branch, key: string, fresh: T): T {
  branch[key] ??= fresh;
  return branch[key] as T;
}

function guestRegister(row: LayoutRow, layout: Layout, plain: GuestRegion, stride: number, doors: Doors): object {
  // A driver reaches a register behind an index by writing the index first.
  const reach = (): number => {
    if (row.door !== 'behind') return row.offset;
    const { index, data } = doors;
    if (index) plain.write(busOffset(layout, index.offset, stride), index.width, row.offset);
    return data?.offset ?? 0;
  };
  // Strided apart, a register wider than the layout's is several accesses.
  const unit = stride === layout.width ? row.width : Math.min(row.width, layout.width);
  const gather = (access: (offset: number, size: number) => number): number => {
    const start = reach();
    let value = 0;
    for (let at = 0; at < row.width; at += unit) {
      value += access(busOffset(layout, start + at, stride), unit) * 2 ** (8 * at);
    }
    return value;
  };
  const read = () => gather((offset, size) => plain.read(offset, size));
  return {
    read,
    fields: () => decode(row, read()),
    write(given: number | Fields) {
      const value = typeof given === 'number' ? given : encode(row, given);
      const start = reach();
      for (let at = 0; at < row.width; at += unit) {
        plain.write(busOffset(layout, start + at, stride), unit, ((value >>> (8 * at)) & maskOf(unit)) >>> 0);
      }
    },
  };
}

/** Field values of a register value. */
export function decode(row: LayoutRow, value: number): Record<string, boolean | number | string> {
  return Object.fromEntries(
    Object.entries(row.fields).map(([name, field]) => {
      const raw = ((value >>> field.lo) & (2 ** (field.hi - field.lo + 1) - 1)) >>> 0;
      if (field.values) return [name, field.values[raw] ?? raw];
      return [name, field.hi === field.lo ? raw !== 0 : raw];
    }),
  );
}

/** Register value of some fields over zero. @throws TraplineError `TL_STATE_VALUE` for a value a field lacks */
export function encode(row: LayoutRow, fields: Fields): number {
  let value = 0;
  for (const [name, given] of Object.entries(fields)) {
    const field = row.fields[name];
    const most = field ? 2 ** (field.hi - field.lo + 1) - 1 : 0;
    const named = field?.values && Object.entries(field.values).find(([, text]) => text === given)?.[0];
    const raw = field?.values && typeof given === 'string' ? Number(named) : Number(given);
    if (!field || !(raw >= 0 && raw <= most)) {
      throw new TraplineError('TL_STATE_VALUE', `${row.name}.${name} cannot be ${String(given)}`, { who: 'drive' });
    }
    value += raw * 2 ** field.lo;
  }
  return (value & maskOf(row.width)) >>> 0;
}
