// What guest.S prints, read the same way whoever ran it.

/** Times of one register's reads, in ticks of the time-stamp counter. */
export interface Timing {
  /** Reads whose time was taken. */
  readonly count: number;
  /** Reads that did not give what was written. */
  readonly wrong: number;
  readonly min: number;
  readonly p10: number;
  readonly p50: number;
  readonly p90: number;
  readonly p99: number;
  readonly max: number;
}

/** What is read: the 16550's scratch register and the HPET's main counter. */
export type Register = 'pio' | 'mmio';

/** One run of the guest. */
export type Report = Readonly<Record<Register, Timing>>;

/** @throws Error if the guest did not get to its end */
export function parseReport(text: string): Report {
  const timing = (name: Register): Timing => {
    const line = new RegExp(`^${name}((?: [0-9a-f]{8}){8})$`, 'm').exec(text);
    if (!line) throw new Error(`the guest did not report its ${name} reads: ${JSON.stringify(text)}`);
    const [count, wrong, min, p10, p50, p90, p99, max] = (line[1] as string)
      .trim()
      .split(' ')
      .map((digits) => Number.parseInt(digits, 16)) as [number, number, number, number, number, number, number, number];
    return { count, wrong, min, p10, p50, p90, p99, max };
  };
  return { pio: timing('pio'), mmio: timing('mmio') };
}
