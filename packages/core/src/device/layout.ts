// Register layouts: data only, the form a data sheet gives them. What they do is `registers()`.
import { hex, TraplineError } from '../errors.js';
import { knownKeys } from './known-keys.js';

/**
 * What the guest may do with a register or field.
 *
 * | mode | guest reads | guest writes |
 * |---|---|---|
 * | `rw` | value | stores |
 * | `ro` | value | ignored |
 * | `wo` | 0 | stores |
 * | `w1c` | value | ones clear |
 * | `w1s` | value | ones set |
 * | `w0c` | value | zeros clear |
 * | `rc` | value, then clears | ignored |
 * | `const` | reset value, always | ignored |
 * | `reserved` | reset value | ignored; a change is a guest error |
 * | `unimplemented` | stored value, reported | stores, reported |
 */
export type Access = 'rw' | 'ro' | 'wo' | 'w1c' | 'w1s' | 'w0c' | 'rc' | 'const' | 'reserved' | 'unimplemented';

/** Every {@link Access}. */
export const ACCESSES: readonly Access[] = [
  'rw',
  'ro',
  'wo',
  'w1c',
  'w1s',
  'w0c',
  'rc',
  'const',
  'reserved',
  'unimplemented',
];

/** Names for some of the values of a field. */
export type EnumValues = Readonly<Record<number, string>>;

/** One field of a register, made by {@link bit} and {@link bits}. */
export interface Field<V = boolean | number | string, A extends Access | undefined = Access | undefined> {
  readonly hi: number;
  readonly lo: number;
  readonly values: EnumValues | undefined;
  readonly access: A;
  readonly doc: string | undefined;
  /** Type only. */
  readonly [FIELD_VALUE]?: V;
}
declare const FIELD_VALUE: unique symbol;

/** What a field may say beside its position. */
export interface FieldOptions<A extends Access | undefined = Access | undefined> {
  /** Overrides the access mode of its register. */
  readonly access?: A;
  readonly doc?: string;
}

/** A one-bit field: a boolean. */
export function bit<const A extends Access | undefined = undefined>(
  position: number,
  options: FieldOptions<A> = {},
): Field<boolean, A> {
  return { hi: position, lo: position, values: undefined, access: options.access as A, doc: options.doc };
}

/** Bits `hi` down to `lo`, both included: a number. */
export function bits<const A extends Access | undefined = undefined>(
  hi: number,
  lo: number,
  options?: FieldOptions<A>,
): Field<number, A>;
/** Bits `hi` down to `lo` with named values: a string. Values without a name are refused with a guest error. */
export function bits<const E extends EnumValues, const A extends Access | undefined = undefined>(
  hi: number,
  lo: number,
  values: E,
  options?: FieldOptions<A>,
): Field<E[keyof E & number], A>;
export function bits(
  hi: number,
  lo: number,
  valuesOrOptions: EnumValues | FieldOptions = {},
  more: FieldOptions = {},
): Field {
  const named = Object.keys(valuesOrOptions).some((key) => /^\d+$/.test(key));
  const options = named ? more : (valuesOrOptions as FieldOptions);
  const values = named ? (valuesOrOptions as EnumValues) : undefined;
  return { hi, lo, values, access: options.access, doc: options.doc };
}

/** The fields of a register, by name. */
export type Fields = Readonly<Record<string, Field>>;

/** How a register is declared. */
export interface RegisterOptions {
  readonly access?: Access;
  /** Value after reset; 0 if left out. */
  readonly reset?: number;
  readonly fields?: Fields;
  /** Bytes, if not the width of the layout. */
  readonly width?: 1 | 2 | 4;
  /** Decoded only while the layout's bank field has this value. */
  readonly bank?: number;
  readonly doc?: string;
}

/** One register, made by {@link reg}. */
export interface Register<O extends RegisterOptions = RegisterOptions> {
  readonly kind: 'register';
  readonly offset: number;
  readonly options: O;
}

/** A register at a byte offset. */
export function reg<const O extends RegisterOptions>(offset: number, options: O): Register<O> {
  return { kind: 'register', offset, options };
}

/** Equal registers in a row, made by {@link array}. */
export interface RegisterArray<O extends RegisterOptions = RegisterOptions> {
  readonly kind: 'array';
  readonly count: number;
  readonly stride: number;
  readonly element: Register<O>;
}

/** `count` equal registers, `stride` bytes apart; the element's offset is that of the first. */
export function array<const O extends RegisterOptions>(
  count: number,
  stride: number,
  element: Register<O>,
): RegisterArray<O> {
  return { kind: 'array', count, stride, element };
}

/** The entries an indexed bank may hold. */
export type IndexedEntries = Readonly<Record<string, Register | RegisterArray>>;

/** Registers behind an index and a data register, made by {@link indexed}. */
export interface Indexed<R extends IndexedEntries = IndexedEntries> {
  readonly kind: 'indexed';
  readonly index: number;
  readonly data: number;
  readonly mask: number;
  readonly regs: R;
}

/** A bank reached through an index register and a data register (CMOS: index 0, data 1). */
export function indexed<const R extends IndexedEntries>(spec: {
  /** Byte offset of the index register. */
  readonly index: number;
  /** Byte offset of the data register. */
  readonly data: number;
  /** Bits of the index register that select; the others are kept as written. Default: all of the width. */
  readonly mask?: number;
  /** The registers behind it; their offsets are index values. */
  readonly regs: R;
}): Indexed<R> {
  return { kind: 'indexed', mask: 0xffff_ffff, ...spec };
}

/** What a layout may hold, by name. */
export type LayoutEntries = Readonly<Record<string, Register | RegisterArray | Indexed>>;

/** How a layout is declared. */
export interface LayoutSpec<R extends LayoutEntries = LayoutEntries> {
  /** Bytes per register. */
  readonly width: 1 | 2 | 4;
  /** Bytes of the whole region; the end of the last register if left out. */
  readonly size?: number;
  /** `register.field` that selects the bank, for registers with `bank`. */
  readonly bank?: string;
  readonly regs: R;
}

/** A checked register layout. */
export interface Layout<R extends LayoutEntries = LayoutEntries> {
  readonly width: 1 | 2 | 4;
  /** Bytes the layout takes. */
  readonly size: number;
  readonly regs: R;
  /** One row per register, arrays and indexed banks unfolded, in the order declared. */
  readonly rows: readonly LayoutRow[];
  /** Index in `rows` and position of the field that selects the bank; -1 without banks. */
  readonly bankRow: number;
  readonly bankField: Field | undefined;
}

/** One register of a layout, unfolded. */
export interface LayoutRow {
  /** `ctrl`, `channel[2]`, `cmos.seconds`. */
  readonly name: string;
  /** The key in `regs`, and below it for an indexed bank. */
  readonly path: readonly string[];
  /** Index in an array, or -1. */
  readonly element: number;
  /** Byte offset, or the index value for a register behind an index. */
  readonly offset: number;
  readonly width: 1 | 2 | 4;
  readonly access: Access;
  readonly reset: number;
  readonly bank: number;
  /** `none`: directly addressed. `index`, `data`: the two doors of an indexed bank. `behind`: inside one. */
  readonly door: 'none' | 'index' | 'data' | 'behind';
  /** For `index`, `data` and `behind`: which indexed bank, counted from 0; otherwise -1. */
  readonly group: number;
  readonly fields: Fields;
  readonly doc: string | undefined;
}

/** Registers are numbered with 16 bits, 0 being none. */
const MOST_ROWS = 65535;

/**
 * Checks a layout and freezes it.
 * @throws TraplineError `TL_LAYOUT`, naming the register, if it contradicts itself
 */
export function layout<const R extends LayoutEntries>(spec: LayoutSpec<R>): Layout<R> {
  const rows: LayoutRow[] = [];
  let groups = 0;
  for (const [name, entry] of Object.entries(spec.regs)) {
    if (entry.kind === 'indexed') unfoldIndexed(rows, name, entry, spec.width, groups++);
    else unfold(rows, [name], entry, spec.width, 'none', -1);
  }
  if (rows.length > MOST_ROWS) bad('layout', `has ${rows.length} registers, more than ${MOST_ROWS}`);
  for (const row of rows) checkRow(row);
  checkOffsets(rows.filter((row) => row.door !== 'behind'));
  for (let group = 0; group < groups; group++) {
    checkOffsets(rows.filter((row) => row.door === 'behind' && row.group === group));
  }
  const end = Math.max(0, ...rows.filter((row) => row.door !== 'behind').map((row) => row.offset + row.width));
  const size = spec.size ?? end;
  if (size < end) bad('layout', `its size ${size} ends before its last register at ${end}`);
  const bank = findBank(rows, spec.bank);
  return Object.freeze({ width: spec.width, size, regs: spec.regs, rows, ...bank });
}

function unfold(
  rows: LayoutRow[],
  path: readonly string[],
  entry: Register | RegisterArray,
  width: 1 | 2 | 4,
  door: LayoutRow['door'],
  group: number,
): void {
  const { count, stride, element } = entry.kind === 'array' ? entry : { count: 1, stride: 0, element: entry };
  if (entry.kind === 'array' && (count < 1 || stride < 1)) bad(path.join('.'), 'an array needs a count and a stride');
  const o: RegisterOptions = element.options;
  knownKeys(o, ['access', 'reset', 'fields', 'width', 'bank', 'doc'], path.join('.'));
  for (let i = 0; i < count; i++) {
    rows.push({
      name: path.join('.') + (entry.kind === 'array' ? `[${i}]` : ''),
      path,
      element: entry.kind === 'array' ? i : -1,
      offset: element.offset + i * stride,
      width: o.width ?? width,
      access: o.access ?? 'rw',
      reset: (o.reset ?? 0) >>> 0,
      bank: o.bank ?? -1,
      door,
      group,
      fields: o.fields ?? {},
      doc: o.doc,
    });
  }
}

function unfoldIndexed(rows: LayoutRow[], name: string, entry: Indexed, width: 1 | 2 | 4, group: number): void {
  const door = (kind: 'index' | 'data', offset: number) =>
    rows.push({
      name: `${name}.${kind}`,
      path: [name, kind],
      element: -1,
      offset,
      width,
      access: kind === 'index' ? 'rw' : 'unimplemented',
      reset: 0,
      bank: -1,
      door: kind,
      group,
      fields: {},
      doc: undefined,
    });
  door('index', entry.index);
  door('data', entry.data);
  for (const [key, inner] of Object.entries(entry.regs)) {
    if (key === 'index' || key === 'data') bad(`${name}.${key}`, 'is the name of a door of the indexed bank');
    unfold(rows, [name, key], inner, width, 'behind', group);
  }
}

function checkRow(row: LayoutRow): void {
  const top = row.width * 8;
  checkAccess(row.name, row.access);
  if (!Number.isInteger(row.offset) || row.offset < 0) bad(row.name, `has the offset ${row.offset}`);
  if (row.door !== 'behind' && row.offset % row.width !== 0) bad(row.name, `is not aligned to its ${row.width} bytes`);
  if (row.reset > maskOf(row.width)) bad(row.name, `resets to ${hex(row.reset)}, more than ${row.width} bytes`);
  let taken = 0;
  for (const [name, field] of Object.entries(row.fields)) {
    if (name === 'value' || name === 'name') bad(`${row.name}.${name}`, `is not a possible field name`);
    if (field.access !== undefined) checkAccess(`${row.name}.${name}`, field.access);
    if (field.hi < field.lo) bad(`${row.name}.${name}`, `has bits ${field.hi} to ${field.lo}: write bits(high, low)`);
    if (!(field.lo >= 0 && field.hi < top)) bad(`${row.name}.${name}`, 'leaves its register');
    const mask = fieldMask(field);
    if (taken & mask) bad(`${row.name}.${name}`, 'overlaps another field');
    taken |= mask;
    const values = field.values;
    if (!values) continue;
    const most = mask >>> field.lo;
    for (const key of Object.keys(values)) {
      if (Number(key) > most) bad(`${row.name}.${name}`, `names the value ${key}, which does not fit`);
    }
    const initial = (row.reset & mask) >>> field.lo;
    if (!(initial in values)) bad(`${row.name}.${name}`, `resets to ${initial}, which has no name`);
    if (new Set(Object.values(values)).size !== Object.keys(values).length) {
      bad(`${row.name}.${name}`, 'gives two values one name');
    }
  }
}

/** The compiler knows the modes; a declaration in JavaScript, or one that was cast, may not. */
function checkAccess(who: string, access: Access): void {
  if (!ACCESSES.includes(access)) bad(who, `has the access mode ${access}, which is none of ${ACCESSES.join(' ')}`);
}

/** Two registers may share bytes if one is `ro` and the other `wo`, or if their banks differ. */
function checkOffsets(rows: readonly LayoutRow[]): void {
  for (const [i, a] of rows.entries()) {
    for (const b of rows.slice(i + 1)) {
      const span = (row: LayoutRow) => (row.door === 'behind' ? 1 : row.width);
      if (a.offset + span(a) <= b.offset || b.offset + span(b) <= a.offset) continue;
      const modes = [a.access, b.access];
      if (modes.includes('wo') && modes.some((mode) => mode === 'ro' || mode === 'rc' || mode === 'const')) continue;
      if (a.bank >= 0 && b.bank >= 0 && a.bank !== b.bank) continue;
      bad(b.name, `is at ${hex(b.offset)}, where ${a.name} is`);
    }
  }
}

function findBank(rows: readonly LayoutRow[], bank: string | undefined): Pick<Layout, 'bankRow' | 'bankField'> {
  if (bank === undefined) {
    const stray = rows.find((row) => row.bank >= 0);
    if (stray) bad(stray.name, 'has a bank, but the layout names no field that selects it');
    return { bankRow: -1, bankField: undefined };
  }
  const [register, name] = bank.split('.') as [string, string | undefined];
  const bankRow = rows.findIndex((row) => row.name === register);
  const bankField = rows[bankRow]?.fields[name ?? ''];
  if (!bankField) bad('bank', `is selected by ${bank}, which does not exist`);
  if (rows[bankRow]?.bank !== -1) bad('bank', `is selected by ${bank}, which is itself in a bank`);
  const most = 2 ** (bankField.hi - bankField.lo + 1) - 1;
  const lost = rows.find((row) => row.bank > most || !Number.isInteger(row.bank));
  if (lost) bad(lost.name, `is in bank ${lost.bank}, which ${bank} cannot select`);
  return { bankRow, bankField };
}

function bad(who: string, what: string): never {
  throw new TraplineError('TL_LAYOUT', what, { who });
}

/** All ones in `width` bytes, unsigned. */
export function maskOf(width: number): number {
  return width >= 4 ? 0xffff_ffff : 2 ** (8 * width) - 1;
}

/** The bits of a field in its register, as an int32. */
export function fieldMask(field: Field): number {
  const width = field.hi - field.lo + 1;
  return (width >= 32 ? -1 : ((1 << width) - 1) << field.lo) | 0;
}
