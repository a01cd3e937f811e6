import type { Layout } from './layout.js';
import { REGISTERS, type Registers } from './register-types.js';
import { isRegisters } from './registers.js';

/** One register, described as data. */
export interface RegisterDescription {
  readonly name: string;
  readonly offset: number;
  readonly width: number;
  readonly access: string;
  readonly reset: number;
  readonly bank?: number;
  readonly behindIndex: boolean;
  readonly doc?: string;
  readonly fields: readonly {
    readonly name: string;
    readonly hi: number;
    readonly lo: number;
    readonly access: string;
    readonly values?: Readonly<Record<number, string>>;
    readonly doc?: string;
  }[];
  /** What it holds now, without side effects; only for a device's registers. */
  readonly value?: number;
}

/** The register map of a layout, or of a device's registers with their present values. Plain data. */
export function describe(of: Layout | Registers): RegisterDescription[] {
  const block = isRegisters(of) ? (of as Registers)[REGISTERS] : undefined;
  const layout = block?.layout ?? (of as Layout);
  return layout.rows.map((row, r) => ({
    name: row.name,
    offset: row.offset,
    width: row.width,
    access: row.access,
    reset: row.reset,
    behindIndex: row.door === 'behind',
    ...(row.bank >= 0 ? { bank: row.bank } : {}),
    ...(row.doc === undefined ? {} : { doc: row.doc }),
    fields: Object.entries(row.fields).map(([name, field]) => ({
      name,
      hi: field.hi,
      lo: field.lo,
      access: field.access ?? row.access,
      ...(field.values ? { values: field.values } : {}),
      ...(field.doc === undefined ? {} : { doc: field.doc }),
    })),
    ...(block ? { value: block.peekRow(r) } : {}),
  }));
}
