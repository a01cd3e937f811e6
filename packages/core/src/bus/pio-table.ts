import type { Paint } from './mmio-map.js';
import { PORTS } from './range.js';

/** What every table without a range shares: most machines of a test have no port at all. */
const NOBODY = new Uint16Array(PORTS);

/** Port to range: one table look-up. Entries are range numbers + 1; 0 is nobody. Immutable. */
export class PioTable {
  private readonly table: Uint16Array;

  /** @param paints later ones win */
  constructor(paints: readonly Paint[] = []) {
    this.table = paints.length > 0 ? new Uint16Array(PORTS) : NOBODY;
    for (const { base, size, entry } of paints) this.table.fill(entry, base, base + size);
  }

  lookup(port: number): number {
    return this.table[port] as number;
  }
}
