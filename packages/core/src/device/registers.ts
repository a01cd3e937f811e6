import { TraplineError } from '../errors.js';
import { knownKeys } from './known-keys.js';
import { type Field, fieldMask, type Layout, type LayoutEntries, type LayoutRow } from './layout.js';
import { RegisterBlock, type RowHooks } from './register-block.js';
import { type HooksOf, REGISTERS, type Registers } from './register-types.js';

type Hooks = Readonly<Record<string, unknown>>;
type Branch = Record<string | symbol, unknown>;

/**
 * Makes the registers of a device from its layout. Write it as a field initializer; hooks are
 * functions, so they may use everything the constructor is given.
 *
 * For a guest's write: merge by access mode, store, then `write(value, old)`. For its read:
 * `read()` replaces the stored value, then the value is taken. `peek` has no side effect.
 */
export function registers<const R extends LayoutEntries>(layout: Layout<R>, hooks: HooksOf<R>): Registers<R> {
  const rowHooks = layout.rows.map((row) => hooksOf(row, hooks as Hooks));
  checkHooks(layout, hooks as Hooks);
  const block = new RegisterBlock(layout, rowHooks);
  const root: Branch = { [REGISTERS]: block };
  for (const [r, row] of layout.rows.entries()) {
    if (row.door === 'data') continue;
    const branch = row.path.slice(0, -1).reduce((at, key) => child(at, key, {}), root);
    const leaf = row.path.at(-1) as string;
    const view = makeView(block, r, row);
    if (row.element < 0) branch[leaf] = view;
    else child<unknown[]>(branch, leaf, []).push(view);
  }
  return root as unknown as Registers<R>;
}

/** Is this what `registers()` makes? */
export function isRegisters(value: unknown): value is Registers {
  return typeof value === 'object' && value !== null && REGISTERS in value;
}

/** What a branch has under a key, made if it is not there yet. */
function child<T = Branch>(branch: Branch, key: string, fresh: T): T {
  branch[key] ??= fresh;
  return branch[key] as T;
}

function hooksOf(row: LayoutRow, hooks: Hooks): RowHooks | undefined {
  let found: unknown = hooks;
  for (const key of row.path) found = (found as Record<string, unknown> | undefined)?.[key];
  if (typeof found === 'object' && found !== null)
    knownKeys(found, ['write', 'read', 'peek'], `the hooks of ${row.name}`);
  return found as RowHooks | undefined;
}

/** A misspelt hook is a register that silently does nothing: refuse it also from JavaScript. */
function checkHooks(layout: Layout, hooks: Hooks): void {
  for (const key of Object.keys(hooks)) {
    if (!(key in layout.regs)) throw new TraplineError('TL_LAYOUT', `there is a hook for ${key}, but no register`);
  }
}

const prototypes = new WeakMap<LayoutRow, object>();

class View {
  constructor(
    readonly block: RegisterBlock,
    readonly row: number,
  ) {}
  get value(): number {
    return (this.block.cells[this.row] as number) >>> 0;
  }
  set value(value: number) {
    this.block.store(this.row, -1, integer(value));
  }
}

/** One register's accessor object; registers of one layout row share their accessors. */
function makeView(block: RegisterBlock, r: number, row: LayoutRow): View {
  let prototype = prototypes.get(row);
  if (!prototype) {
    prototype = Object.create(View.prototype) as object;
    for (const [name, field] of Object.entries(row.fields)) {
      Object.defineProperty(prototype, name, { ...accessor(field), enumerable: true });
    }
    prototypes.set(row, prototype);
  }
  const view = Object.create(prototype) as View;
  Object.defineProperty(view, 'block', { value: block });
  Object.defineProperty(view, 'row', { value: r });
  return view;
}

function accessor(field: Field): { get(this: View): unknown; set(this: View, value: never): void } {
  const mask = fieldMask(field);
  const { lo, values } = field;
  const raw = (view: View) => ((view.block.cells[view.row] as number) & mask) >>> lo;
  if (values) {
    const codes = new Map(Object.entries(values).map(([code, name]) => [name, Number(code)]));
    return {
      get() {
        return values[raw(this)];
      },
      set(name: string) {
        const code = codes.get(name);
        if (code === undefined) throw new TraplineError('TL_STATE_VALUE', `a field has no value ${String(name)}`);
        this.block.store(this.row, mask, code << lo);
      },
    };
  }
  if (field.hi === lo) {
    return {
      get() {
        return raw(this) !== 0;
      },
      set(value: boolean) {
        this.block.store(this.row, mask, value ? mask : 0);
      },
    };
  }
  return {
    get() {
      return raw(this);
    },
    set(value: number) {
      this.block.store(this.row, mask, integer(value) << lo);
    },
  };
}

/** Registers drop bits beyond their width, as hardware does; NaN and fractions are mistakes of the device. */
function integer(value: number): number {
  if (!Number.isInteger(value)) throw new TraplineError('TL_STATE_VALUE', `a register cannot hold ${String(value)}`);
  // ToInt32 is modulo 2^32 for every integer.
  return value | 0;
}
