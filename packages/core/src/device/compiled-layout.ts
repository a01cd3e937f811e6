import { ACCESSES, type Access, type Field, fieldMask, type Layout, type LayoutRow, maskOf } from './layout.js';

/** A field with named values: which encodings exist. */
export interface EnumCheck {
  readonly name: string;
  readonly mask: number;
  readonly lo: number;
  readonly allowed: ReadonlySet<number>;
}

/** A layout turned into tables: what a register block looks up instead of deciding. */
export interface CompiledLayout {
  readonly rows: readonly LayoutRow[];
  readonly resets: Int32Array;
  /** Bits of each row, by access mode. */
  readonly masks: Readonly<Record<Access, Int32Array>>;
  /** Bits the guest can read: all but `wo`. */
  readonly readable: Int32Array;
  /** For each row, the bits of the bytes whose access has side effects: the lowest byte of each field. */
  readonly effects: Int32Array;
  readonly enums: readonly (readonly EnumCheck[])[];
  /** Row + 1 at each byte offset, by bank value; bank 0 alone without banks. */
  readonly readMaps: readonly Uint16Array[];
  readonly writeMaps: readonly Uint16Array[];
  /** Row + 1 by index value, for each indexed bank. */
  readonly behindRead: readonly Uint16Array[];
  readonly behindWrite: readonly Uint16Array[];
  /** Row of the index register of each indexed bank, and the bits that select. */
  readonly indexRows: Int32Array;
  readonly indexMasks: Int32Array;
}

const cache = new WeakMap<Layout, CompiledLayout>();

/** The tables of a layout, made once. */
export function compileLayout(layout: Layout): CompiledLayout {
  let compiled = cache.get(layout);
  if (!compiled) {
    compiled = compile(layout);
    cache.set(layout, compiled);
  }
  return compiled;
}

function compile(layout: Layout): CompiledLayout {
  const rows = layout.rows;
  const table = () => new Int32Array(rows.length);
  const masks = Object.fromEntries(ACCESSES.map((access) => [access, table()])) as Record<Access, Int32Array>;
  const readable = table();
  const effects = table();
  const enums: EnumCheck[][] = [];
  for (const [r, row] of rows.entries()) {
    const fields = Object.entries(row.fields);
    if (fields.length === 0) {
      masks[row.access][r] = maskOf(row.width);
      effects[r] = 0xff;
    }
    for (const [, field] of fields) {
      const mode = masks[field.access ?? row.access];
      mode[r] = (mode[r] as number) | fieldMask(field);
      effects[r] = (effects[r] as number) | byteMask(field.lo);
    }
    readable[r] = ~(masks.wo[r] as number) & maskOf(row.width);
    enums.push(fields.flatMap(([name, field]) => enumCheck(name, field)));
  }
  const bankCount = layout.bankField ? 2 ** (layout.bankField.hi - layout.bankField.lo + 1) : 1;
  const banks = Array.from({ length: bankCount }, (_, bank) => bank);
  const groups = 1 + Math.max(-1, ...rows.map((row) => row.group));
  const group = Array.from({ length: groups }, (_, g) => g);
  const indexRow = (g: number) => rows.findIndex((row) => row.door === 'index' && row.group === g);
  const indexMask = (g: number) => {
    const entry = layout.regs[rows[indexRow(g)]?.path[0] ?? ''];
    return (entry?.kind === 'indexed' ? entry.mask : 0) & maskOf(layout.width);
  };
  return {
    rows,
    resets: Int32Array.from(rows, (row) => row.reset),
    masks,
    readable,
    effects,
    enums,
    readMaps: banks.map((bank) => directMap(layout, bank, canRead)),
    writeMaps: banks.map((bank) => directMap(layout, bank, canWrite)),
    behindRead: group.map((g) => behindMap(rows, g, canRead)),
    behindWrite: group.map((g) => behindMap(rows, g, canWrite)),
    indexRows: Int32Array.from(group, indexRow),
    indexMasks: Int32Array.from(group, indexMask),
  };
}

function enumCheck(name: string, field: Field): EnumCheck[] {
  if (!field.values) return [];
  const allowed = new Set(Object.keys(field.values).map(Number));
  if (allowed.size === 2 ** (field.hi - field.lo + 1)) return [];
  return [{ name, mask: fieldMask(field), lo: field.lo, allowed }];
}

function byteMask(bitPosition: number): number {
  return 0xff << (bitPosition & ~7);
}

type Preference = (row: LayoutRow) => number;
/** Where an `ro` and a `wo` register share an offset, a read finds the one, a write the other. */
const canRead: Preference = (row) => (row.access === 'wo' ? 1 : 2);
const canWrite: Preference = (row) => (['ro', 'rc', 'const'].includes(row.access) ? 1 : 2);

function directMap(layout: Layout, bank: number, prefer: Preference): Uint16Array {
  const map = new Uint16Array(layout.size);
  for (const [r, row] of layout.rows.entries()) {
    if (row.door === 'behind' || (row.bank >= 0 && row.bank !== bank)) continue;
    for (let at = row.offset; at < row.offset + row.width; at++) place(map, at, r, layout.rows, prefer);
  }
  return map;
}

function behindMap(rows: readonly LayoutRow[], group: number, prefer: Preference): Uint16Array {
  const inside = rows.filter((row) => row.door === 'behind' && row.group === group);
  const map = new Uint16Array(1 + Math.max(0, ...inside.map((row) => row.offset)));
  for (const [r, row] of rows.entries()) {
    if (row.door === 'behind' && row.group === group) place(map, row.offset, r, rows, prefer);
  }
  return map;
}

function place(map: Uint16Array, at: number, row: number, rows: readonly LayoutRow[], prefer: Preference): void {
  const there = rows[(map[at] as number) - 1];
  if (!there || prefer(rows[row] as LayoutRow) > prefer(there)) map[at] = row + 1;
}
