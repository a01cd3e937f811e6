import { hex, TraplineError, textOf } from '../errors.js';
import { type CompiledLayout, compileLayout } from './compiled-layout.js';
import type { IoHandler } from './handler.js';
import { fieldMask, type Layout, type LayoutRow, maskOf } from './layout.js';
import { type DevicePart, PartSlot } from './part.js';
import { isStrayPromise } from './stray.js';

/** Hooks of one row; `element` is the index in an array, -1 outside of one. */
export interface RowHooks {
  write?(value: number, old: number, element: number): unknown;
  read?(element: number): number;
  peek?(element: number): number;
}

/** Saved registers: the stored value of each register that can change, by name. */
export type SavedRegisters = Readonly<Record<string, number>>;

/**
 * The registers of one device instance: stores their values, gives each access the meaning its
 * layout declares, and calls the device's hooks. One class for all devices keeps the dispatcher's
 * call monomorphic.
 *
 * Takes 1, 2 and 4 bytes at any offset; a register's side effects happen when the lowest byte of
 * one of its fields is accessed, once per access.
 */
export class RegisterBlock implements IoHandler, DevicePart {
  readonly kind = 'registers';
  readonly slot = new PartSlot();
  /** Stored values, one int32 per row. */
  readonly cells: Int32Array;
  private readonly compiled: CompiledLayout;
  private readMap: Uint16Array;
  private writeMap: Uint16Array;
  private readonly bankShift: number;
  private readonly bankMask: number;

  constructor(
    readonly layout: Layout,
    private readonly hooks: readonly (RowHooks | undefined)[],
  ) {
    this.compiled = compileLayout(layout);
    this.cells = this.compiled.resets.slice();
    this.bankMask = layout.bankField ? fieldMask(layout.bankField) : 0;
    this.bankShift = layout.bankField?.lo ?? 0;
    this.readMap = this.compiled.readMaps[0] as Uint16Array;
    this.writeMap = this.compiled.writeMaps[0] as Uint16Array;
    this.selectBank();
  }

  read(offset: number, size: number): number {
    const r = (this.readMap[offset] as number) - 1;
    const row = this.compiled.rows[r];
    if (row !== undefined && row.offset === offset && row.width === size) return this.readRow(r, maskOf(size)) >>> 0;
    return this.gather(offset, size, false);
  }

  write(offset: number, size: number, value: number): void {
    const r = (this.writeMap[offset] as number) - 1;
    const row = this.compiled.rows[r];
    if (row !== undefined && row.offset === offset && row.width === size) this.writeRow(r, maskOf(size), value);
    else this.scatter(offset, size, value);
  }

  peek(offset: number, size: number): number {
    return this.gather(offset, size, true);
  }

  /** What a row reads as, with no side effect, unsigned. */
  peekRow(r: number): number {
    return this.peekBits(r) >>> 0;
  }

  /** Stores from the device's side: access modes do not apply, `const` bits stay. */
  store(r: number, bits: number, value: number): void {
    const fixed = this.compiled.masks.const[r] as number;
    const mask = bits & ~fixed & maskOf((this.compiled.rows[r] as LayoutRow).width);
    this.cells[r] = ((this.cells[r] as number) & ~mask) | (value & mask);
    if (r === this.layout.bankRow) this.selectBank();
  }

  reset(): void {
    this.cells.set(this.compiled.resets);
    this.selectBank();
  }

  save(): SavedRegisters {
    const saved: Record<string, number> = {};
    for (const [r, row] of this.compiled.rows.entries()) {
      if (this.isSaved(r)) saved[row.name] = (this.cells[r] as number) >>> 0;
    }
    return saved;
  }

  /** Checks everything before anything is changed. @throws TraplineError `TL_STATE_INVALID` */
  check(saved: unknown, where: string): () => void {
    const invalid = (what: string): never => {
      throw new TraplineError('TL_STATE_INVALID', what, { who: where });
    };
    if (typeof saved !== 'object' || saved === null) return invalid('is no record of registers');
    const values = saved as Record<string, unknown>;
    const next = this.compiled.resets.slice();
    const names = new Set<string>();
    for (const [r, row] of this.compiled.rows.entries()) {
      if (!this.isSaved(r)) continue;
      names.add(row.name);
      const value = values[row.name];
      if (typeof value !== 'number' || !Number.isInteger(value) || value < 0 || value > maskOf(row.width)) {
        return invalid(`register ${row.name} cannot hold ${textOf(value)}`);
      }
      const fixed = this.compiled.masks.const[r] as number;
      if (((value ^ row.reset) & fixed) !== 0) return invalid(`register ${row.name} changes constant bits`);
      for (const check of this.compiled.enums[r] ?? []) {
        const encoded = (value & check.mask) >>> check.lo;
        if (!check.allowed.has(encoded)) return invalid(`field ${row.name}.${check.name} has no value ${encoded}`);
      }
      next[r] = value;
    }
    const stray = Object.keys(values).find((name) => !names.has(name));
    if (stray !== undefined) return invalid(`has the unknown register ${stray}`);
    return () => {
      this.cells.set(next);
      this.selectBank();
    };
  }

  private isSaved(r: number): boolean {
    const row = this.compiled.rows[r] as LayoutRow;
    const { masks } = this.compiled;
    return (
      row.door !== 'data' && ((masks.const[r] as number) | (masks.reserved[r] as number)) !== (maskOf(row.width) | 0)
    );
  }

  private selectBank(): void {
    const { bankRow } = this.layout;
    if (bankRow < 0) return;
    const bank = ((this.cells[bankRow] as number) & this.bankMask) >>> this.bankShift;
    this.readMap = this.compiled.readMaps[bank] as Uint16Array;
    this.writeMap = this.compiled.writeMaps[bank] as Uint16Array;
  }

  /** @param bits the accessed bits of the row. @returns the row's bits, an int32, the others zero */
  private readRow(r: number, bits: number): number {
    const { rows, masks, effects, readable } = this.compiled;
    const row = rows[r] as LayoutRow;
    if (row.door === 'data') return this.readBehind(row.group, bits);
    if ((bits & (effects[r] as number)) !== 0) {
      const hooks = this.hooks[r];
      if (hooks?.read !== undefined) this.store(r, -1, this.checked(hooks.read(row.element), row));
      if (((masks.unimplemented[r] as number) & bits) !== 0) this.unimplemented(`read of ${row.name}`);
    }
    const value = this.cells[r] as number;
    const cleared = (masks.rc[r] as number) & bits;
    if (cleared !== 0) this.cells[r] = value & ~cleared;
    return value & (readable[r] as number) & bits;
  }

  private writeRow(r: number, bits: number, value: number): void {
    const { rows, masks, effects, enums } = this.compiled;
    const row = rows[r] as LayoutRow;
    if (row.door === 'data') {
      this.writeBehind(row.group, bits, value);
      return;
    }
    const old = this.cells[r] as number;
    const unimplemented = (masks.unimplemented[r] as number) & bits;
    const stored = (((masks.rw[r] as number) | (masks.wo[r] as number)) & bits) | unimplemented;
    let next = (old & ~stored) | (value & stored);
    next &= ~(value & (masks.w1c[r] as number) & bits);
    next |= value & (masks.w1s[r] as number) & bits;
    next &= ~(~value & (masks.w0c[r] as number) & bits);
    if (((value ^ old) & (masks.reserved[r] as number) & bits) !== 0) {
      this.slot.log?.guestError(`write of ${hex(value >>> 0)} changes reserved bits of ${row.name}`);
    }
    if (unimplemented !== 0) this.unimplemented(`write of ${hex((value & bits) >>> 0)} to ${row.name}`);
    const checks = enums[r] as CompiledLayout['enums'][number];
    for (let i = 0; i < checks.length; i++) {
      const check = checks[i] as (typeof checks)[number];
      if (check.allowed.has((next & check.mask) >>> check.lo)) continue;
      this.slot.log?.guestError(
        `write of ${(next & check.mask) >>> check.lo} to ${row.name}.${check.name}: no such value`,
      );
      next = (next & ~check.mask) | (old & check.mask);
    }
    this.cells[r] = next;
    if (r === this.layout.bankRow) this.selectBank();
    if ((bits & (effects[r] as number)) === 0) return;
    const hooks = this.hooks[r];
    if (hooks?.write !== undefined && isStrayPromise(hooks.write(next >>> 0, old >>> 0, row.element))) {
      throw this.badHook('write', row, 'a promise');
    }
  }

  private readBehind(group: number, bits: number): number {
    const r = this.behind(this.compiled.behindRead[group] as Uint16Array, group);
    if (r >= 0) return this.readRow(r, bits);
    this.unimplemented(`read of index ${hex(this.index(group))}`);
    return 0;
  }

  private writeBehind(group: number, bits: number, value: number): void {
    const r = this.behind(this.compiled.behindWrite[group] as Uint16Array, group);
    if (r >= 0) this.writeRow(r, bits, value);
    else this.unimplemented(`write to index ${hex(this.index(group))}`);
  }

  private index(group: number): number {
    const cell = this.cells[this.compiled.indexRows[group] as number] as number;
    return (cell & (this.compiled.indexMasks[group] as number)) >>> 0;
  }

  private behind(map: Uint16Array, group: number): number {
    const index = this.index(group);
    return index < map.length ? (map[index] as number) - 1 : -1;
  }

  private peekBits(r: number): number {
    const row = this.compiled.rows[r] as LayoutRow;
    if (row.door === 'data') {
      const inner = this.behind(this.compiled.behindRead[row.group] as Uint16Array, row.group);
      return inner < 0 ? 0 : this.peekBits(inner);
    }
    const hooks = this.hooks[r];
    const value = hooks?.peek === undefined ? (this.cells[r] as number) : this.checked(hooks.peek(row.element), row);
    return value & (this.compiled.readable[r] as number);
  }

  /** An access that is not exactly one register: byte by byte range, low addresses first. */
  private gather(offset: number, size: number, peek: boolean): number {
    let value = 0;
    for (let at = 0; at < size; ) {
      const r = (this.readMap[offset + at] ?? 0) - 1;
      const row = this.compiled.rows[r];
      if (row === undefined) {
        if (!peek) this.unimplemented(`read of offset ${hex(offset + at)}, where no register is`);
        at++;
        continue;
      }
      const from = offset + at - row.offset;
      const count = Math.min(row.width - from, size - at);
      const bits = bitsOf(from, count);
      const part = ((peek ? this.peekBits(r) & bits : this.readRow(r, bits)) >>> (8 * from)) & maskOf(count);
      value |= part << (8 * at);
      at += count;
    }
    return value >>> 0;
  }

  private scatter(offset: number, size: number, value: number): void {
    for (let at = 0; at < size; ) {
      const r = (this.writeMap[offset + at] ?? 0) - 1;
      const row = this.compiled.rows[r];
      if (row === undefined) {
        this.unimplemented(`write to offset ${hex(offset + at)}, where no register is`);
        at++;
        continue;
      }
      const from = offset + at - row.offset;
      const count = Math.min(row.width - from, size - at);
      this.writeRow(r, bitsOf(from, count), ((value >>> (8 * at)) & maskOf(count)) << (8 * from));
      at += count;
    }
  }

  private checked(value: number, row: LayoutRow): number {
    if (isStrayPromise(value)) throw this.badHook('read', row, 'a promise');
    if (!((value | 0) === value || value >>> 0 === value) || (value & ~maskOf(row.width)) !== 0) {
      throw this.badHook('read', row, textOf(value));
    }
    return value;
  }

  private badHook(hook: 'read' | 'write', row: LayoutRow, what: string): TraplineError {
    const fix =
      hook === 'read'
        ? `return an unsigned number of ${row.width} byte${row.width === 1 ? '' : 's'}`
        : 'hooks are synchronous: start the work, and finish it with an interrupt';
    return new TraplineError('TL_DEVICE_VALUE', `the ${hook} hook of ${row.name} returned ${what}`, { fix });
  }

  private unimplemented(what: string): void {
    this.slot.log?.unimplemented(what);
  }
}

/** The bits of `count` bytes from byte `from` on, as an int32. */
function bitsOf(from: number, count: number): number {
  return maskOf(count) << (8 * from);
}
