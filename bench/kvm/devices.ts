// The devices of guest.S, as anyone would write them, and once more as cells that vCPU threads may serve.
import { Device, type IoHandler, latch, Mmio, Pio } from '@trapline/core';

const LINE_STATUS = 5;
const SCRATCH = 7;
const HPET_CONFIG = 0x10;
const HPET_COUNTER = 0xf0;

/** As much of a 16550 as the guest looks at. */
@Device({ type: 'bench-uart', summary: 'serial port with a scratch register' })
@Pio({ base: 0x3f8, size: 8 })
export class BenchUart implements IoHandler {
  /** Reads of the scratch register. */
  reads = 0;
  private scratch = 0;

  read(offset: number): number {
    if (offset === SCRATCH) {
      this.reads++;
      return this.scratch;
    }
    return offset === LINE_STATUS ? 0x60 : 0;
  }
  write(offset: number, _size: number, value: number): void {
    if (offset === SCRATCH) this.scratch = value;
  }
}

/** As much of an HPET whose counter is halted. */
@Device({ type: 'bench-hpet', summary: 'timer with a halted counter' })
@Mmio({ base: 0xfed0_0000, size: 0x400 })
export class BenchHpet implements IoHandler {
  /** Reads of the main counter. */
  reads = 0;
  private config = 0;
  private counter = 0;

  read(offset: number): number {
    switch (offset) {
      case HPET_COUNTER:
        this.reads++;
        return this.counter;
      case HPET_CONFIG:
        return this.config;
      default:
        return 0;
    }
  }
  write(offset: number, _size: number, value: number): void {
    if (offset === HPET_COUNTER) this.counter = value;
    else if (offset === HPET_CONFIG) this.config = value;
  }
}

/** The two registers that are timed, served without entering JavaScript. */
@Device({ type: 'bench-cells', summary: 'scratch register and counter as latches' })
export class BenchCells {
  @Pio({ base: 0x3ff, serve: 'latch' }) readonly scratch = latch(1);
  @Mmio({ base: 0xfed0_0010, serve: 'latch' }) readonly config = latch(4);
  @Mmio({ base: 0xfed0_00f0, serve: 'latch' }) readonly counter = latch(4);
}

/** Keeps what the guest prints. */
@Device({ type: 'bench-console', summary: 'port that remembers what is printed' })
@Pio({ base: 0xe9, size: 1 })
export class BenchConsole implements IoHandler {
  text = '';

  read(): number {
    return 0xe9;
  }
  write(_offset: number, _size: number, value: number): void {
    this.text += String.fromCharCode(value);
  }
}
