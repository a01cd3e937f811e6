import type { Space } from '../backend/backend.js';
import { MmioMap, type Paint } from '../bus/mmio-map.js';
import { PioTable } from '../bus/pio-table.js';
import { ALL_WIDTHS, findOverlaps, overlappingPairs, rangeProblem } from '../bus/range.js';
import type { IoHandler } from '../device/handler.js';
import type { ClientRange, IoreqClient } from './client.js';

/** What one range has served. */
export interface RangeCounters {
  readonly reads: number;
  readonly writes: number;
  readonly bytesRead: number;
  readonly bytesWritten: number;
  /** Sampled accesses and their time in handlers, in ms. */
  readonly samples: number;
  readonly sampledMs: number;
}

// One range = one record of 64 bytes, a cache line: with ten thousand ranges in random order the
// dispatcher touches one line of it per access. Word indices (32 bits) and double indices (64 bits).
const WORDS = 16;
export const RECORD = { words: WORDS, baseLow: 0, sizeMinus1: 1, handler: 10, direct: 11 } as const;
export const COUNTER = { reads: 1, writes: 2, bytesRead: 3, bytesWritten: 4, samples: 6, sampledMs: 7 } as const;

/** Ranges up to which it is worth asking whether they were decoded before. */
const FEW = 16;

/** Stands where a handler was: nothing decodes to it. */
const NOBODY: IoHandler = { read: () => -1, write: () => {} };

/** A decoder never changes, and tests make thousands of machines that decode alike: the last one is kept. */
function keepLast<T>(make: (paints: readonly Paint[]) => T): (paints: readonly Paint[]) => T {
  let last: { readonly key: string; readonly made: T } | undefined;
  return (paints) => {
    if (paints.length > FEW) return make(paints);
    const key = paints.map(({ base, size, entry }) => `${base} ${size} ${entry}`).join();
    if (last?.key !== key) last = { key, made: make(paints) };
    return last.made;
  };
}
const pioTable = keepLast((paints) => new PioTable(paints));
const mmioMap = keepLast((paints) => new MmioMap(paints));
const NO_PORTS = new PioTable();
const NO_MMIO = new MmioMap();

function decode<T>(paints: readonly Paint[], none: T, make: (paints: readonly Paint[]) => T): T {
  return paints.length > 0 ? make(paints) : none;
}

/** Every range of a machine, decoded by space and access size. */
export class RangeSet {
  /** Record words; `u32[entry * 16 + RECORD.x]`. */
  u32 = new Uint32Array(0);
  /** The same memory; `f64[entry * 8 + COUNTER.x]`. */
  f64 = new Float64Array(0);
  /** Handlers by `RECORD.handler`: one object however many ranges it has. The number of one without ranges is used again. */
  readonly handlers: IoHandler[] = [];
  /** Ranges by entry - 1; a removed one leaves a hole that is used again. */
  readonly ranges: (ClientRange | undefined)[] = [];
  /** Decoders by log2 of the size; the same object four times while no range is width-qualified. */
  pio: readonly PioTable[];
  mmio: readonly MmioMap[];
  /** How often a dynamic range came to lie, wholly or partly, under another range. */
  shadowed = 0;
  /** Is any range under another now? Then every byte of an access must be looked up. */
  overlapping = false;
  /** Called when ranges, or the way they are served, have changed. */
  onChange: () => void = () => {};
  /** What of a range was served elsewhere. */
  extra: (range: ClientRange) => Omit<RangeCounters, 'samples' | 'sampledMs'> | undefined = () => undefined;
  /** Does a range that is added from now on begin off the direct path? */
  startsTraced: (range: ClientRange) => boolean = () => false;
  private readonly traced = new Set<number>();
  private readonly holes: number[] = [];
  /** Ranges in the order they were added: an entry is used again, a place in time is not. */
  private readonly inOrder = new Set<ClientRange>();
  private readonly handlerNumbers = new Map<IoHandler, { readonly number: number; ranges: number }>();
  private readonly freeNumbers: number[] = [];

  constructor() {
    this.pio = [NO_PORTS, NO_PORTS, NO_PORTS];
    this.mmio = [NO_MMIO, NO_MMIO, NO_MMIO, NO_MMIO];
  }

  /**
   * Adds ranges and decodes them.
   * @returns for each dynamic range that lies under another: that other
   * @throws TraplineError `TL_RANGE`, or `TL_RANGE_OVERLAP` for two fixed ranges; nothing is added then
   */
  add(ranges: readonly ClientRange[]): { readonly range: ClientRange; readonly under: ClientRange }[] {
    for (const range of ranges) {
      const problem = rangeProblem(range);
      if (problem) throw problem;
    }
    const [overlap] = findOverlaps([...this.inOrder, ...ranges]);
    if (overlap) throw overlap;
    for (const range of ranges) this.place(range);
    const fresh = new Set(ranges);
    const under = this.rebuild()
      .filter((pair) => pair.some((range) => fresh.has(range)))
      .map(([one, other]) =>
        one.dynamic && !other.dynamic ? { range: one, under: other } : { range: other, under: one },
      );
    this.shadowed += under.length;
    this.onChange();
    return under;
  }

  /** Removes ranges; their counters are gone. */
  remove(gone: (range: ClientRange) => boolean): void {
    const before = this.inOrder.size;
    for (const [i, range] of this.ranges.entries()) {
      if (!range || !gone(range)) continue;
      this.ranges[i] = undefined;
      this.inOrder.delete(range);
      this.holes.push(i);
      this.traced.delete(i + 1);
      this.releaseNumber(range.adapter.handler);
    }
    if (this.inOrder.size === before) return;
    this.rebuild();
    this.onChange();
  }

  range(entry: number): ClientRange {
    return this.ranges[entry - 1] as ClientRange;
  }

  /** Takes ranges off the direct path, or puts them back: traced ones, those of a failed device. */
  setDirect(match: (range: ClientRange) => boolean, direct: boolean): void {
    for (const [i, range] of this.ranges.entries()) {
      if (!range || !match(range)) continue;
      if (direct) this.traced.delete(i + 1);
      else this.traced.add(i + 1);
      this.u32[(i + 1) * WORDS + RECORD.direct] = this.directSizes(range, i + 1);
    }
    this.onChange();
  }

  /** Decides anew which accesses of a client go directly. */
  refreshDirect(client: IoreqClient): void {
    for (const [i, range] of this.ranges.entries()) {
      if (range?.client === client) this.u32[(i + 1) * WORDS + RECORD.direct] = this.directSizes(range, i + 1);
    }
  }

  /** May a backend serve this range now? */
  isNative(range: ClientRange): boolean {
    const entry = this.ranges.indexOf(range) + 1;
    // Where ranges overlap, which one decodes an address is not the backend's to know.
    return (
      range.served !== undefined && entry > 0 && !range.client.failure && !this.traced.has(entry) && !this.overlapping
    );
  }

  /** Adds what was served elsewhere to a range's own counters. */
  count(range: ClientRange, by: Omit<RangeCounters, 'samples' | 'sampledMs'>): void {
    const entry = this.ranges.indexOf(range) + 1;
    if (entry === 0) return;
    const at = entry * (WORDS / 2);
    (this.f64[at + COUNTER.reads] as number) += by.reads;
    (this.f64[at + COUNTER.writes] as number) += by.writes;
    (this.f64[at + COUNTER.bytesRead] as number) += by.bytesRead;
    (this.f64[at + COUNTER.bytesWritten] as number) += by.bytesWritten;
  }

  counters(range: ClientRange): RangeCounters {
    const at = (this.ranges.indexOf(range) + 1) * (WORDS / 2);
    const value = (index: number) => this.f64[at + index] as number;
    const extra = this.extra(range);
    return {
      reads: value(COUNTER.reads) + (extra?.reads ?? 0),
      writes: value(COUNTER.writes) + (extra?.writes ?? 0),
      bytesRead: value(COUNTER.bytesRead) + (extra?.bytesRead ?? 0),
      bytesWritten: value(COUNTER.bytesWritten) + (extra?.bytesWritten ?? 0),
      samples: value(COUNTER.samples),
      sampledMs: value(COUNTER.sampledMs),
    };
  }

  private directSizes(range: ClientRange, entry: number): number {
    const { client } = range;
    if (range.deferred || client.defers || client.drain || client.failure || this.traced.has(entry)) return 0;
    return range.adapter.direct;
  }

  private place(range: ClientRange): void {
    const i = this.holes.pop() ?? this.ranges.length;
    this.ranges[i] = range;
    this.inOrder.add(range);
    const entry = i + 1;
    if ((entry + 1) * WORDS > this.u32.length) this.grow(Math.max(8, (entry + 1) * 2));
    const at = entry * WORDS;
    // Here, not where it is removed: an access of the range that was there may still have been counted.
    this.u32.fill(0, at, at + WORDS);
    if (this.startsTraced(range)) this.traced.add(entry);
    this.u32[at + RECORD.baseLow] = range.base % 2 ** 32;
    this.u32[at + RECORD.sizeMinus1] = range.size - 1;
    this.u32[at + RECORD.handler] = this.takeNumber(range.adapter.handler);
    this.u32[at + RECORD.direct] = this.directSizes(range, entry);
  }

  private takeNumber(handler: IoHandler): number {
    let known = this.handlerNumbers.get(handler);
    if (!known) {
      known = { number: this.freeNumbers.pop() ?? this.handlers.length, ranges: 0 };
      this.handlerNumbers.set(handler, known);
      this.handlers[known.number] = handler;
    }
    known.ranges++;
    return known.number;
  }

  private releaseNumber(handler: IoHandler): void {
    const known = this.handlerNumbers.get(handler);
    if (!known || --known.ranges > 0) return;
    this.handlerNumbers.delete(handler);
    this.handlers[known.number] = NOBODY;
    this.freeNumbers.push(known.number);
  }

  private grow(entries: number): void {
    const old = this.u32;
    const buffer = new ArrayBuffer(entries * WORDS * 4);
    this.u32 = new Uint32Array(buffer);
    this.f64 = new Float64Array(buffer);
    this.u32.set(old);
  }

  /**
   * Paints the decoders anew, weakest first: dynamic ranges, the latest below; then fixed ones.
   * @returns the pairs that overlap, the earlier range first
   */
  private rebuild(): (readonly [ClientRange, ClientRange])[] {
    const entries = new Map(this.ranges.map((range, i) => [range, i + 1]));
    const order = [...this.inOrder]
      .map((range) => ({ range, entry: entries.get(range) as number }))
      .reverse()
      .sort((a, b) => Number(b.range.dynamic) - Number(a.range.dynamic));
    const qualified = order.some(({ range }) => range.widths !== ALL_WIDTHS);
    const paints = (space: Space, log: number) =>
      order
        .filter(({ range }) => range.space === space && (!qualified || (range.widths & (1 << log)) !== 0))
        .map(({ range: { base, size }, entry }) => ({ base, size, entry }));
    const decoders = <T>(count: number, make: (log: number) => T): T[] => {
      if (qualified) return Array.from({ length: count }, (_, log) => make(log));
      return new Array<T>(count).fill(make(0));
    };
    this.pio = decoders(3, (log) => decode(paints('pio', log), NO_PORTS, pioTable));
    this.mmio = decoders(4, (log) => decode(paints('mmio', log), NO_MMIO, mmioMap));
    const pairs = order.some(({ range }) => range.dynamic) ? overlappingPairs([...this.inOrder]) : [];
    this.overlapping = pairs.length > 0;
    return pairs;
  }

  /** Ranges of a space, by address. */
  list(space?: Space): ClientRange[] {
    return this.ranges
      .filter((range): range is ClientRange => range !== undefined && (space === undefined || range.space === space))
      .sort((a, b) => (a.space === b.space ? a.base - b.base : a.space < b.space ? 1 : -1));
  }
}
