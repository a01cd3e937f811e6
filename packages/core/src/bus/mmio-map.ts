// Guest-physical address to range. Below 4 GiB a three-level table in one array: 4 MiB, 4 KiB, and
// inside a page cells as large as its ranges allow, so that ten thousand ranges still fit a cache;
// above, a sorted list.

const SPAN_BITS = 22;
const PAGE_BITS = 12;
const SPAN = 2 ** SPAN_BITS;
const PAGE = 2 ** PAGE_BITS;
const PAGES_PER_SPAN = SPAN / PAGE;
const DIRECTORY = 2 ** 32 / SPAN;
const FOUR_GIB = 2 ** 32;
/** Bits of a reference that give the cell size of a page's table. */
const SHIFT_BITS = 4;

/** A stretch of addresses and the entry it is painted with: a range number + 1. */
export interface Paint {
  readonly base: number;
  readonly size: number;
  readonly entry: number;
}

/** An immutable decoder. Entries are range numbers + 1; 0 is nobody. */
export class MmioMap {
  /** Entries, and negative references to finer tables in the same array. The directory comes first. */
  private table = new Int32Array(DIRECTORY);
  private used = DIRECTORY;
  private high: Paint[] = [];

  /** @param paints later ones win */
  constructor(paints: readonly Paint[] = []) {
    const shifts = cellShifts(paints);
    for (const paint of paints) {
      const end = paint.base + paint.size;
      if (paint.base < FOUR_GIB) this.paintLow(paint.base, Math.min(end, FOUR_GIB), paint.entry, shifts);
      if (end > FOUR_GIB) this.paintHigh(Math.max(paint.base, FOUR_GIB), end, paint.entry);
    }
  }

  /** @param low low 32 bits of the address, as an int32; @param high bits 32 to 52 */
  lookup(low: number, high: number): number {
    if (high !== 0) return this.lookupHigh((low >>> 0) + high * FOUR_GIB);
    const table = this.table;
    const span = table[low >>> SPAN_BITS] as number;
    if (span >= 0) return span;
    const page = table[~span + ((low >>> PAGE_BITS) & (PAGES_PER_SPAN - 1))] as number;
    if (page >= 0) return page;
    const reference = ~page;
    return table[(reference >>> SHIFT_BITS) + ((low & (PAGE - 1)) >>> (reference & (2 ** SHIFT_BITS - 1)))] as number;
  }

  private paintLow(base: number, end: number, entry: number, shifts: ReadonlyMap<number, number>): void {
    for (let at = base; at < end; ) {
      const index = Math.floor(at / SPAN);
      const stop = Math.min(end, (index + 1) * SPAN);
      if (stop - at === SPAN) this.table[index] = entry;
      else this.paintSpan(this.spanTable(index), at, stop, entry, shifts);
      at = stop;
    }
  }

  private paintSpan(span: number, base: number, end: number, entry: number, shifts: ReadonlyMap<number, number>): void {
    for (let at = base; at < end; ) {
      const page = Math.floor(at / PAGE);
      const stop = Math.min(end, (page + 1) * PAGE);
      const index = span + (page % PAGES_PER_SPAN);
      if (stop - at === PAGE) this.table[index] = entry;
      else {
        const shift = shifts.get(page) as number;
        const first = this.pageTable(index, shift) + (at % PAGE) / 2 ** shift;
        this.table.fill(entry, first, first + (stop - at) / 2 ** shift);
      }
      at = stop;
    }
  }

  /** Start of the table under a directory entry, made from that entry if there is none yet. */
  private spanTable(index: number): number {
    const there = this.table[index] as number;
    if (there < 0) return ~there;
    const start = this.allocate(PAGES_PER_SPAN, there);
    this.table[index] = ~start;
    return start;
  }

  private pageTable(index: number, shift: number): number {
    const there = this.table[index] as number;
    if (there < 0) return ~there >>> SHIFT_BITS;
    const start = this.allocate(PAGE / 2 ** shift, there);
    this.table[index] = ~((start << SHIFT_BITS) | shift);
    return start;
  }

  private allocate(length: number, fill: number): number {
    const start = this.used;
    this.used += length;
    if (this.used > this.table.length) {
      const larger = new Int32Array(Math.max(this.used, this.table.length * 2));
      larger.set(this.table);
      this.table = larger;
    }
    this.table.fill(fill, start, this.used);
    return start;
  }

  private paintHigh(base: number, end: number, entry: number): void {
    const kept = this.high.flatMap((range) => {
      const rangeEnd = range.base + range.size;
      const parts: Paint[] = [];
      if (range.base < base) parts.push({ ...range, size: Math.min(rangeEnd, base) - range.base });
      const after = Math.max(range.base, end);
      if (rangeEnd > end) parts.push({ ...range, base: after, size: rangeEnd - after });
      return parts;
    });
    kept.push({ base, size: end - base, entry });
    this.high = kept.sort((a, b) => a.base - b.base);
  }

  private lookupHigh(address: number): number {
    const list = this.high;
    let first = 0;
    let behind = list.length;
    while (first < behind) {
      const middle = (first + behind) >>> 1;
      const range = list[middle] as Paint;
      if (address < range.base) behind = middle;
      else if (address >= range.base + range.size) first = middle + 1;
      else return range.entry;
    }
    return 0;
  }
}

/** For each page in which a range begins or ends: log2 of the largest cell that respects all borders. */
function cellShifts(paints: readonly Paint[]): ReadonlyMap<number, number> {
  const borders = new Map<number, number>();
  const border = (address: number) => {
    const offset = address % PAGE;
    if (offset === 0 || address >= FOUR_GIB) return;
    const page = Math.floor(address / PAGE);
    borders.set(page, (borders.get(page) ?? 0) | offset);
  };
  for (const { base, size } of paints) {
    border(base);
    border(base + size);
  }
  return new Map([...borders].map(([page, offsets]) => [page, 31 - Math.clz32(offsets & -offsets)]));
}
