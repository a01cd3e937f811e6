import { TraplineError } from '../errors.js';
import { type Cell, type CellSpec, isCellSpec } from './cells.js';
import { type DevicePart, PartSlot } from './part.js';

/** The cells of a state declaration, by name. */
export type StateSpec = Readonly<Record<string, CellSpec<unknown, boolean>>>;

/** Where a state object keeps its machinery. */
export const STATE_CELLS: unique symbol = Symbol.for('trapline.state');

/** A device's state: scalars are assigned, buffers and timers are used in place. */
export type State<S extends StateSpec = StateSpec> = {
  -readonly [K in keyof S as S[K] extends CellSpec<unknown, true> ? K : never]: ValueOf<S[K]>;
} & {
  readonly [K in keyof S as S[K] extends CellSpec<unknown, true> ? never : K]: ValueOf<S[K]>;
} & { readonly [STATE_CELLS]: StateCells };
type ValueOf<C> = C extends CellSpec<infer V, boolean> ? V : never;

/** The cells behind a state object. */
export class StateCells implements DevicePart {
  readonly kind = 'state';
  readonly slot = new PartSlot();
  readonly cells: ReadonlyMap<string, Cell<unknown>>;

  constructor(spec: StateSpec) {
    const cells = new Map<string, Cell<unknown>>();
    for (const [name, cell] of Object.entries(spec)) {
      if (!isCellSpec(cell)) throw new TraplineError('TL_STATE_VALUE', `${name} is no state cell`, { who: 'state' });
      cells.set(name, cell.make(this.slot, name));
    }
    this.cells = cells;
  }

  reset(): void {
    for (const cell of this.cells.values()) cell.reset();
  }

  save(): Readonly<Record<string, unknown>> {
    return Object.fromEntries([...this.cells].map(([name, cell]) => [name, cell.save()]));
  }

  check(saved: unknown, where: string): () => void {
    if (typeof saved !== 'object' || saved === null) {
      throw new TraplineError('TL_STATE_INVALID', 'is no record of state', { who: where });
    }
    const values = saved as Record<string, unknown>;
    const stray = Object.keys(values).find((name) => !this.cells.has(name));
    if (stray !== undefined) {
      throw new TraplineError('TL_STATE_INVALID', `has the unknown cell ${stray}`, { who: where });
    }
    const apply = [...this.cells].map(([name, cell]) => cell.check(values[name], `${where}.${name}`));
    return () => {
      for (const run of apply) run();
    };
  }
}

/**
 * Declares what a guest can see of a device beside its registers. The framework saves, validates,
 * resets and inspects it.
 */
export function state<const S extends StateSpec>(spec: S): State<S> {
  const cells = new StateCells(spec);
  const target = {};
  Object.defineProperty(target, STATE_CELLS, { value: cells });
  for (const [name, cell] of cells.cells) {
    Object.defineProperty(target, name, {
      enumerable: true,
      get: () => cell.get(),
      set: (value: unknown) => {
        if (!cell.set) throw new TraplineError('TL_STATE_VALUE', 'is used in place, not assigned', { who: name });
        cell.set(value);
      },
    });
  }
  return target as State<S>;
}

/** Is this what `state()` makes? */
export function isState(value: unknown): value is State {
  return typeof value === 'object' && value !== null && STATE_CELLS in value;
}
