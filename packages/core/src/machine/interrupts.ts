import { IrqLine } from '../device/tokens.js';

/** How the interrupt controller takes a line. One table for it, and for the ACPI tables made from it. */
export interface LineMode {
  readonly trigger: 'edge' | 'level';
  readonly polarity: 'high' | 'low';
}

/** Lines 0 to 15 are ISA's: edge, active high. Above, PCI's: level, active low. */
export function defaultLineMode(line: number): LineMode {
  return line < 16 ? { trigger: 'edge', polarity: 'high' } : { trigger: 'level', polarity: 'low' };
}

/** One device's end of a line. */
export class IrqSource extends IrqLine {
  private driven = false;
  private connected = true;
  /** How often it went from low to high. */
  raised = 0;

  constructor(
    /** Name of the line in its device. */
    readonly name: string,
    /** Interrupt line (GSI). */
    readonly line: number,
    private readonly lines: InterruptLines,
  ) {
    super();
  }

  get level(): boolean {
    return this.driven;
  }

  set(level: boolean): void {
    // What is not typed may say 1: counting needs a boolean.
    const high = Boolean(level);
    if (this.driven === high || !this.connected) return;
    this.driven = high;
    if (high) this.raised++;
    this.lines.changed(this.line, high ? 1 : -1);
  }

  /** Lowers it for good: its device has left the machine. */
  disconnect(): void {
    this.set(false);
    this.connected = false;
  }
}

/** Every line of a machine: ORs its sources and tells the interrupt controller about changes only. */
export class InterruptLines {
  /** How many sources drive a line; only lines that are high are here. */
  private readonly high = new Map<number, number>();
  private drive: (line: number, level: boolean) => void = () => {};

  /** Connects the interrupt controller; lines that are already high are driven at once. */
  connect(drive: (line: number, level: boolean) => void): void {
    this.drive = drive;
    for (const line of this.high.keys()) drive(line, true);
  }

  source(name: string, line: number): IrqSource {
    return new IrqSource(name, line, this);
  }

  level(line: number): boolean {
    return this.high.has(line);
  }

  changed(line: number, by: 1 | -1): void {
    const before = this.high.get(line) ?? 0;
    const after = before + by;
    if (after > 0) this.high.set(line, after);
    else this.high.delete(line);
    if (before > 0 !== after > 0) this.drive(line, after > 0);
  }
}
