// Guest-physical address to range. Below 4 GiB a three-level table: 4 MiB, 4 KiB, 1 byte, each level
// present only where a range ends inside it; above, a sorted list. Both take the same time for one
// range and for ten thousand (the list: its logarithm).

const SPAN_BITS = 22;
const PAGE_BITS = 12;
const SPAN = 2 ** SPAN_BITS;
const PAGE = 2 ** PAGE_BITS;
const FOUR_GIB = 2 ** 32;

interface HighRange {
  readonly base: number;
  readonly size: number;
  readonly entry: number;
}

/** Entries are range numbers + 1; 0 is nobody. */
export class MmioMap {
  /** Per 4 MiB: an entry, or ~index of a table in `spans`. */
  private readonly directory = new Int32Array(FOUR_GIB / SPAN);
  /** Per 4 KiB: an entry, or ~index of a table in `pages`. */
  private readonly spans: Int32Array[] = [];
  /** Per byte: an entry. */
  private readonly pages: Int32Array[] = [];
  /** Disjoint, ascending. */
  private high: HighRange[] = [];

  /** @param low low 32 bits of the address, as an int32; @param high bits 32 to 52 */
  lookup(low: number, high: number): number {
    if (high !== 0) return this.lookupHigh((low >>> 0) + high * FOUR_GIB);
    const span = this.directory[low >>> SPAN_BITS] as number;
    if (span >= 0) return span;
    const page = (this.spans[~span] as Int32Array)[(low >>> PAGE_BITS) & (SPAN / PAGE - 1)] as number;
    if (page >= 0) return page;
    return (this.pages[~page] as Int32Array)[low & (PAGE - 1)] as number;
  }

  /** Later calls win. */
  paint(base: number, size: number, entry: number): void {
    const end = base + size;
    if (base < FOUR_GIB) this.paintLow(base, Math.min(end, FOUR_GIB), entry);
    if (end > FOUR_GIB) this.paintHigh(Math.max(base, FOUR_GIB), end, entry);
  }

  private paintLow(base: number, end: number, entry: number): void {
    for (let at = base; at < end; ) {
      const index = Math.floor(at / SPAN);
      const stop = Math.min(end, (index + 1) * SPAN);
      if (stop - at === SPAN) this.directory[index] = entry;
      else
        this.paintSpan(
          this.split(this.directory, index, this.spans, SPAN / PAGE),
          at % SPAN,
          stop - index * SPAN,
          entry,
        );
      at = stop;
    }
  }

  private paintSpan(table: Int32Array, base: number, end: number, entry: number): void {
    for (let at = base; at < end; ) {
      const index = Math.floor(at / PAGE);
      const stop = Math.min(end, (index + 1) * PAGE);
      if (stop - at === PAGE) table[index] = entry;
      else this.split(table, index, this.pages, PAGE).fill(entry, at % PAGE, stop - index * PAGE);
      at = stop;
    }
  }

  /** The finer table under `table[index]`, made from its single entry if there is none yet. */
  private split(table: Int32Array, index: number, pool: Int32Array[], length: number): Int32Array {
    const there = table[index] as number;
    if (there < 0) return pool[~there] as Int32Array;
    const finer = new Int32Array(length).fill(there);
    table[index] = ~pool.length;
    pool.push(finer);
    return finer;
  }

  private paintHigh(base: number, end: number, entry: number): void {
    const kept = this.high.flatMap((range) => {
      const parts: HighRange[] = [];
      const rangeEnd = range.base + range.size;
      if (range.base < base) parts.push({ ...range, size: Math.min(rangeEnd, base) - range.base });
      if (rangeEnd > end)
        parts.push({ ...range, base: Math.max(range.base, end), size: rangeEnd - Math.max(range.base, end) });
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
      const range = list[middle] as HighRange;
      if (address < range.base) behind = middle;
      else if (address >= range.base + range.size) first = middle + 1;
      else return range.entry;
    }
    return 0;
  }
}
