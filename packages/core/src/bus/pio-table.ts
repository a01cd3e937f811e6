import type { Paint } from './mmio-map.js';
import { PORTS } from './range.js';

/** Port to range: one table look-up. Entries are range numbers + 1; 0 is nobody. Immutable. */
export class PioTable {
  private readonly table = new Uint16Array(PORTS);

  /** @param paints later ones win */
  constructor(paints: readonly Paint[] = []) {
    for (const { base, size, entry } of paints) this.table.fill(entry, base, base + size);
  }

  lookup(port: number): number {
    return this.table[port] as number;
  }
}
