import { PORTS } from './range.js';

/** Port to range: one table look-up. Entries are range numbers + 1; 0 is nobody. */
export class PioTable {
  private readonly table = new Uint16Array(PORTS);

  lookup(port: number): number {
    return this.table[port] as number;
  }
  /** Later calls win. */
  paint(base: number, size: number, entry: number): void {
    this.table.fill(entry, base, base + size);
  }
}
