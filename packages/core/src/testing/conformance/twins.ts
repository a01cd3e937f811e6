import type { Kit } from './kit.js';
import type { Op, Step } from './steps.js';
import type { Subject } from './subject.js';

/** The first thing two instances do not agree on. */
export type Mismatch = {
  /** What to call the two values: `a` first. */
  readonly a: string;
  readonly b: string;
} & (
  | { readonly kind: 'value' }
  | { readonly kind: 'msis' }
  | { readonly kind: 'failure'; readonly side: 'a' | 'b' }
  | { readonly kind: 'line'; readonly line: string }
  | { readonly kind: 'state'; readonly path: string }
  | { readonly kind: 'memory'; readonly address: number }
  | { readonly kind: 'peek'; readonly region: number; readonly row: string; readonly r: number }
);

/** What `end` looks at. */
export interface EndChecks {
  readonly lines?: boolean;
  readonly state?: boolean;
  readonly memory?: boolean;
  readonly peeks?: boolean;
}

/**
 * Two instances of a device side by side. Steps both take are compared one by one; after the first
 * difference, or once the case means nothing any more, nothing is done.
 */
export class Twins {
  a: Subject;
  b: Subject;
  /** What was done, for the printed test. */
  readonly ops: Op[] = [];
  mismatch: Mismatch | undefined;
  /** The case says nothing: the guest left, or the device failed whatever was done to it. */
  vacuous = false;

  /** @param watched what is compared after each step both take */
  constructor(
    private readonly kit: Kit,
    private readonly watched: { readonly lines: boolean; readonly values: boolean } = { lines: true, values: true },
  ) {
    this.a = kit.fresh();
    this.b = kit.fresh();
  }

  get stopped(): boolean {
    return this.vacuous || this.mismatch !== undefined;
  }

  both(step: Step): void {
    this.each(step, step);
  }

  onlyA(step: Step): void {
    this.each(step, undefined);
  }

  onlyB(step: Step): void {
    this.each(undefined, step);
  }

  /** A step for each; what they read and cause must agree if both get one. */
  each(forA: Step | undefined, forB: Step | undefined): void {
    if (this.stopped) return;
    const op = { a: this.timed(forA), b: this.timed(forB) };
    this.ops.push(op);
    const valueA = op.a && this.doA(op.a);
    const valueB = op.b && this.b.do(op.b);
    if (this.a.over || this.b.over) {
      this.vacuous = true;
      return;
    }
    this.compare(op, valueA, valueB);
  }

  /** Puts guest memory and randomness of `b` where those of `a` are: they outlive a reset. */
  align(): void {
    this.b.machine.memory.copyFrom(this.a.machine.memory);
    this.b.machine.random.catchUp(this.a.machine.random);
    this.a.machine.takeMsis();
    this.b.machine.takeMsis();
  }

  /** Compares what is left after the last step, and gives the instances back. */
  end(checks: EndChecks = { lines: true, state: true, memory: true }): void {
    if (!this.stopped) {
      this.mismatch =
        (checks.lines ? this.lines() : undefined) ??
        (checks.state ? stateMismatch(this.a.parts(), this.b.parts(), '') : undefined) ??
        (checks.memory ? this.memory() : undefined) ??
        (checks.peeks ? this.peeks() : undefined);
    }
    this.kit.done(this.a);
    this.kit.done(this.b);
  }

  private doA(step: Step): number | undefined {
    if (step.kind !== 'reload') return this.a.do(step);
    this.a = this.a.reload();
    return undefined;
  }

  /** `advance` to the next timer, as a number both share. */
  private timed(step: Step | undefined): Step | undefined {
    if (step?.kind !== 'advance' || step.ms >= 0) return step;
    const next = [this.a, this.b].flatMap(({ machine }) => machine.clock.next ?? []);
    return { kind: 'advance', ms: next.length > 0 ? Math.max(0, Math.min(...next) - this.a.now) : 1 };
  }

  private compare(op: Op, valueA: number | undefined, valueB: number | undefined): void {
    const { a, b } = this;
    if (a.failure !== undefined || b.failure !== undefined) {
      // A device that fails whatever is done to it has another property broken.
      const oneSided = op.a === undefined || op.b === undefined;
      const expected = oneSided ? !isMarker(op.a ?? op.b) : (a.failure === undefined) === (b.failure === undefined);
      if (expected) this.vacuous = true;
      else this.mismatch = { kind: 'failure', side: a.failure === undefined ? 'b' : 'a', ...this.failures() };
      return;
    }
    if (!op.a || !op.b) return;
    if (a.now !== b.now) {
      this.vacuous = true;
      return;
    }
    const { lines, values } = this.watched;
    if (values && valueA !== valueB) this.mismatch = { kind: 'value', a: hexOf(valueA), b: hexOf(valueB) };
    else this.mismatch = (lines ? this.lines() : undefined) ?? (values ? this.msis() : undefined);
  }

  private failures(): { a: string; b: string } {
    return { a: this.a.failure ?? 'goes on', b: this.b.failure ?? 'goes on' };
  }

  private lines(): Mismatch | undefined {
    if (this.a.lines() === this.b.lines()) return undefined;
    for (const [name, line] of this.a.machine.inside.lines) {
      const other = this.b.machine.inside.lines.get(name)?.level ?? false;
      if (line.level !== other) {
        return { kind: 'line', line: name || 'irq', a: levelOf(line.level), b: levelOf(other) };
      }
    }
    return undefined;
  }

  private msis(): Mismatch | undefined {
    const a = this.a.machine.takeMsis();
    const b = this.b.machine.takeMsis();
    if (a.length === 0 && b.length === 0) return undefined;
    // Timers of one instant may fire in another order after a restore.
    const text = (sent: typeof a) =>
      sent
        .map((msi) => JSON.stringify(msi))
        .sort()
        .join();
    const [textA, textB] = [text(a), text(b)];
    return textA === textB ? undefined : { kind: 'msis', a: textA, b: textB };
  }

  private memory(): Mismatch | undefined {
    const { memory } = this.a.machine;
    const address = memory.difference(this.b.machine.memory);
    if (address === undefined) return undefined;
    return {
      kind: 'memory',
      address,
      a: hexOf(memory.readU8(address)),
      b: hexOf(this.b.machine.memory.readU8(address)),
    };
  }

  private peeks(): Mismatch | undefined {
    for (const register of this.kit.map.registers) {
      const a = this.a.peek(register);
      const b = this.b.peek(register);
      if (a === b) continue;
      const { region, row, r } = register;
      return { kind: 'peek', region: region.index, row: row.name, r, a: hexOf(a), b: hexOf(b) };
    }
    return undefined;
  }
}

/** Steps that are done to one instance because they must make no difference. */
function isMarker(step: Step | undefined): boolean {
  return step?.kind === 'reload' || step?.kind === 'peek';
}

function stateMismatch(a: unknown, b: unknown, path: string): Mismatch | undefined {
  if (Object.is(a, b)) return undefined;
  if (typeof a === 'object' && typeof b === 'object' && a !== null && b !== null) {
    for (const key of new Set([...Object.keys(a), ...Object.keys(b)])) {
      const found = stateMismatch(
        (a as Record<string, unknown>)[key],
        (b as Record<string, unknown>)[key],
        path === '' ? key : `${path}.${key}`,
      );
      if (found) return found;
    }
    return undefined;
  }
  return { kind: 'state', path, a: shown(a), b: shown(b) };
}

function shown(value: unknown): string {
  const text = typeof value === 'number' ? hexOf(value) : JSON.stringify(value);
  return text === undefined ? 'nothing' : text.length > 60 ? `${text.slice(0, 60)}...` : text;
}

export function hexOf(value: number | undefined): string {
  if (value === undefined) return 'nothing';
  return Number.isInteger(value) && value >= 0 ? `0x${value.toString(16)}` : String(value);
}

function levelOf(level: boolean): string {
  return level ? 'high' : 'low';
}
