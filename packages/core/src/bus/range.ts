import type { Space } from '../backend/backend.js';
import { hex, TraplineError } from '../errors.js';

/** I/O ports of an x86 CPU. */
export const PORTS = 0x1_0000;
/** Largest trapped range, in bytes; larger regions are memory, not registers. */
export const MAX_RANGE = 2 ** 32;
/** Addresses are exact integers: the last one a range may hold. */
export const MAX_ADDRESS = Number.MAX_SAFE_INTEGER;

/** Bit `size` of a set of access sizes: 1, 2, 4 and 8 are their own bits. */
export const ALL_WIDTHS = 1 | 2 | 4 | 8;

/** A range of addresses that is decoded for one owner. */
export interface AddressRange {
  readonly space: Space;
  /** First address. */
  readonly base: number;
  /** Bytes, at least 1. */
  readonly size: number;
  /** Set of access sizes decoded here, as ORed sizes; {@link ALL_WIDTHS} unless width-qualified. */
  readonly widths: number;
  /** Programmed by the guest (a BAR): yields to fixed ranges and to earlier dynamic ones. */
  readonly dynamic: boolean;
  /** For messages: `com1.regs`. */
  readonly owner: string;
}

/** `pio 0x3f8-0x3ff`, the way a range is named everywhere. */
export function rangeText(range: Pick<AddressRange, 'space' | 'base' | 'size'>): string {
  const last = range.base + range.size - 1;
  return `${range.space} ${hex(range.base)}${range.size > 1 ? `-${hex(last)}` : ''}`;
}

/** Refuses what no bus can decode: size 0, fractions, wrapping, past the end of the space. */
export function rangeProblem(range: AddressRange): TraplineError | undefined {
  const { space, base, size, owner } = range;
  const problem = (what: string, fix?: string) =>
    new TraplineError('TL_RANGE', what, { who: owner, fix, details: { base, size } });
  if (!Number.isInteger(base) || base < 0) return problem(`the base ${base} is no address`);
  if (!Number.isInteger(size) || size < 1) return problem(`the size ${size} at ${space} ${hex(base)} is no size`);
  // Summed so that nothing is rounded down to a possible address.
  const last = base + (size - 1);
  if (space === 'pio' && last >= PORTS) {
    return problem(
      `${rangeText(range)} leaves the 64 K ports`,
      `choose a base up to ${hex(Math.max(0, PORTS - size))}`,
    );
  }
  if (size > MAX_RANGE) return problem(`${rangeText(range)} is larger than 4 GiB`);
  if (last > MAX_ADDRESS) return problem(`${rangeText(range)} passes 2^53 - 1`);
  if ((range.widths & ALL_WIDTHS) === 0) return problem(`${rangeText(range)} decodes no access size`);
  return undefined;
}

/** Would both claim one access? */
export function rangesOverlap(a: AddressRange, b: AddressRange): boolean {
  return a.space === b.space && (a.widths & b.widths) !== 0 && a.base < b.base + b.size && b.base < a.base + a.size;
}

/** The problem of two fixed ranges that overlap, naming both owners. */
export function overlapProblem(a: AddressRange, b: AddressRange): TraplineError {
  return new TraplineError('TL_RANGE_OVERLAP', `${rangeText(b)} overlaps ${a.owner} at ${rangeText(a)}`, {
    who: b.owner,
    fix: `move ${a.owner} or ${b.owner} with at: ${a.space}(0x...)`,
    details: { first: a.owner, second: b.owner },
  });
}

/** Every pair of ranges that overlap, each pair in the order given; found by a sweep, not by comparing all with all. */
export function overlappingPairs<R extends AddressRange>(ranges: readonly R[]): (readonly [earlier: R, later: R])[] {
  const pairs: (readonly [R, R])[] = [];
  const order = new Map(ranges.map((range, i) => [range, i]));
  let open: R[] = [];
  for (const range of [...ranges].sort((a, b) =>
    a.space === b.space ? a.base - b.base : a.space < b.space ? -1 : 1,
  )) {
    open = open.filter((other) => other.space === range.space && other.base + other.size > range.base);
    for (const other of open) {
      if (!rangesOverlap(other, range)) continue;
      const inOrder = (order.get(other) as number) < (order.get(range) as number);
      pairs.push(inOrder ? [other, range] : [range, other]);
    }
    open.push(range);
  }
  return pairs;
}

/** Every pair of fixed ranges that overlap. */
export function findOverlaps(ranges: readonly AddressRange[]): TraplineError[] {
  const fixed = ranges.filter((range) => !range.dynamic);
  return overlappingPairs(fixed).map(([earlier, later]) => overlapProblem(earlier, later));
}

/** Everything wrong with ranges that join others: each by itself, and where fixed ones overlap. */
export function joinProblems(others: readonly AddressRange[], ranges: readonly AddressRange[]): TraplineError[] {
  return [...ranges.flatMap((range) => rangeProblem(range) ?? []), ...findOverlaps([...others, ...ranges])];
}
