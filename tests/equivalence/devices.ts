// Devices of every kind a backend can tell apart, each at a place of its own for each vCPU.
import {
  type AsyncIoHandler,
  bit,
  bits,
  constant,
  Device,
  doorbell,
  type IoHandler,
  IrqLine,
  latch,
  layout,
  Mmio,
  mmio,
  Pio,
  pio,
  reg,
  registers,
  state,
  u32,
  use,
} from '@trapline/core';
import { memoryConsole, Uart16550 } from '@trapline/devices-uart';

const MIX = layout({
  width: 4,
  regs: {
    ctrl: reg(0x0, {
      fields: { enable: bit(0), mode: bits(2, 1, { 0: 'a', 1: 'b', 2: 'c', 3: 'd' }), level: bits(15, 8) },
    }),
    status: reg(0x4, { access: 'w1c', fields: { fired: bit(0), count: bits(7, 4) } }),
    set: reg(0x8, { access: 'w1s', fields: { all: bits(31, 0) } }),
    taken: reg(0xc, { access: 'rc', fields: { all: bits(31, 0) } }),
    id: reg(0x10, { access: 'const', reset: 0xe901_0007 }),
    data: reg(0x14, { access: 'wo', fields: { all: bits(31, 0) } }),
  },
});

/** Registers of most access modes; its line follows a bit. */
@Device({ type: 'eq-mix', summary: 'registers of most access modes, and a line' })
export class Mix {
  @Mmio() readonly regs = registers(MIX, {
    ctrl: {
      write: () => {
        this.regs.taken.all = (this.regs.taken.all + 1) >>> 0;
        if (!this.regs.ctrl.enable) return;
        this.regs.status.fired = true;
        this.irq.set(true);
      },
    },
    status: { write: () => this.irq.set(this.regs.status.fired) },
    data: {
      write: (value) => {
        this.state.sum = (this.state.sum + value) >>> 0;
      },
    },
  });
  readonly state = state({ sum: u32() });
  constructor(private readonly irq: IrqLine) {}
}

/** Takes 32-bit accesses only: everything else goes through the width adapter. */
@Device({ type: 'eq-wide', summary: 'a raw handler of 32 bits' })
@Mmio({ size: 16, impl: { min: 4, max: 4 } })
export class Wide implements IoHandler {
  private readonly words = new Uint32Array(4);
  read(offset: number): number {
    return this.words[offset >> 2] as number;
  }
  write(offset: number, _size: number, value: number): void {
    this.words[offset >> 2] = value;
  }
  peek(offset: number): number {
    return this.read(offset);
  }
}

/** A byte-wide port device that refuses wide accesses. */
@Device({ type: 'eq-ports', summary: 'four ports' })
@Pio({ size: 4, valid: { max: 2 }, impl: { max: 1 } })
export class Ports implements IoHandler {
  private readonly bytes = Uint8Array.of(1, 2, 3, 4);
  read(offset: number): number {
    return this.bytes[offset] as number;
  }
  write(offset: number, _size: number, value: number): void {
    this.bytes[offset] = value;
  }
}

/** What a backend may serve itself; the doorbell raises a line. */
@Device({ type: 'eq-served', summary: 'a constant, a latch and a doorbell' })
export class Served {
  @Mmio({ serve: 'constant' }) readonly id = constant(4, 0x8000_0001);
  @Mmio({ serve: 'latch' }) readonly cell = latch(4, 5);
  @Mmio({ serve: 'doorbell' }) readonly bell = doorbell(2, (value) => this.irq.set((value & 1) === 1));
  constructor(private readonly irq: IrqLine) {}
}

/** Answers later. */
@Device({ type: 'eq-slow', summary: 'answers on another turn' })
@Pio({ size: 4, defer: true })
export class Slow implements AsyncIoHandler {
  private value = 0;
  async read(offset: number, size: number): Promise<number> {
    await Promise.resolve();
    return size === 4 ? this.value >>> 0 : (this.value >>> (8 * offset)) & (2 ** (8 * size) - 1);
  }
  async write(_offset: number, _size: number, value: number): Promise<void> {
    await new Promise((resolve) => setImmediate(resolve));
    this.value = (this.value + value) | 0;
  }
}

/** Fails on its fourth write. */
@Device({ type: 'eq-fails', summary: 'throws sooner or later' })
@Pio({ size: 2 })
export class Fails implements IoHandler {
  private writes = 0;
  read(): number {
    return this.writes;
  }
  write(): void {
    if (++this.writes === 4) throw new RangeError('that was the fourth');
  }
}

/** A stretch of addresses the streams touch. */
export interface Stretch {
  readonly space: 'pio' | 'mmio';
  readonly base: number;
  readonly size: number;
}

/** The devices of vCPU `n`, and where its stream goes: also beside and across their borders, and where nobody is. */
export function devicesOf(n: number) {
  const port = 0x600 + 0x100 * n;
  const at = 0xd000_0000 + 0x1_0000 * n;
  const devices = {
    [`mix${n}`]: use(Mix, { at: mmio(at), irq: 3 }),
    [`wide${n}`]: use(Wide, { at: mmio(at + 0x100) }),
    [`far${n}`]: use(Mix, { at: mmio(at + 0x200, { endian: 'big' }), irq: 5 }),
    [`ports${n}`]: use(Ports, { at: pio(port) }),
    [`served${n}`]: use(Served, {
      at: { id: mmio(at + 0x300), cell: mmio(at + 0x304), bell: mmio(at + 0x308) },
      irq: 6,
    }),
    [`slow${n}`]: use(Slow, { at: pio(port + 0x10) }),
    [`fails${n}`]: use(Fails, { at: pio(port + 0x20) }),
    [`com${n}`]: use(Uart16550, { at: pio(port + 0x30), irq: 7, console: memoryConsole() }),
    [`mem${n}`]: use(Uart16550, { at: mmio(at + 0x400, { stride: 4 }), irq: 9, console: memoryConsole() }),
  };
  const stretches: Stretch[] = [
    { space: 'mmio', base: at, size: 0x1a },
    { space: 'mmio', base: at + 0x100, size: 0x12 },
    { space: 'mmio', base: at + 0x200, size: 0x1a },
    { space: 'mmio', base: at + 0x2fe, size: 0x10 },
    { space: 'mmio', base: at + 0x400, size: 0x24 },
    { space: 'pio', base: port - 1, size: 6 },
    { space: 'pio', base: port + 0x10, size: 5 },
    { space: 'pio', base: port + 0x20, size: 3 },
    { space: 'pio', base: port + 0x30, size: 9 },
  ];
  return { devices, stretches };
}
