// Devices that are right, of every kind the kit must not raise a false alarm on.
import { z } from 'zod';
import {
  type AsyncIoHandler,
  array,
  bit,
  bits,
  bytes,
  Clock,
  constant,
  Device,
  doorbell,
  fifo,
  GuestMemory,
  type IoHandler,
  Irq,
  IrqLine,
  indexed,
  latch,
  layout,
  MachineControl,
  Mmio,
  Msi,
  Options,
  Pio,
  Random,
  reg,
  registers,
  state,
  timer,
  u8,
  u16,
  u32,
  u53,
} from '../../index.js';

export const TIMER = layout({
  width: 4,
  regs: {
    ctrl: reg(0x0, { fields: { enable: bit(0), mode: bits(2, 1, { 0: 'oneshot', 1: 'periodic' }) } }),
    status: reg(0x4, { access: 'w1c', fields: { fired: bit(0) } }),
    reload: reg(0x8, { reset: 100, fields: { ticks: bits(15, 0) } }),
    count: reg(0xc, { access: 'ro' }),
    id: reg(0x10, { access: 'const', reset: 0xacce_0001 }),
  },
});
export const TimerOptions = z.object({ hz: z.number().int().positive().default(1000).describe('tick rate, Hz') });

/** A programmable timer with a live counter, an interrupt and a magic number. */
@Device({ type: 'good-timer', summary: 'a programmable timer', irq: 5, options: TimerOptions })
export class GoodTimer {
  @Mmio({ base: 0xd000_0000 }) readonly regs = registers(TIMER, {
    ctrl: { write: () => this.arm() },
    status: { write: () => this.irq.set(this.regs.status.fired) },
    count: { read: () => this.left(), peek: () => this.left() },
  });
  readonly state = state({ tick: timer(() => this.fire()) });

  constructor(
    private readonly irq: IrqLine,
    private readonly clock: Clock,
    private readonly options: Options<z.output<typeof TimerOptions>>,
  ) {}

  private arm(): void {
    if (!this.regs.ctrl.enable) this.state.tick.cancel();
    else this.state.tick.after(((this.regs.reload.ticks + 1) * 1000) / this.options.hz);
  }
  private left(): number {
    const { deadline } = this.state.tick;
    return deadline === undefined ? 0 : Math.floor(((deadline - this.clock.now()) * this.options.hz) / 1000);
  }
  private fire(): void {
    this.regs.status.fired = true;
    this.irq.set(true);
    if (this.regs.ctrl.mode === 'periodic') this.arm();
    else this.regs.ctrl.enable = false;
  }
}

/** Handled by hand: a byte-wide memory of eight ports, the last one read-only. */
@Device({ type: 'good-ports', summary: 'eight ports by hand' })
@Pio({ base: 0x300, size: 8, impl: { max: 1 } })
export class GoodPorts implements IoHandler {
  readonly state = state({ data: bytes(8), writes: u32() });

  read(offset: number): number {
    if (offset === 7) return this.state.writes & 0xff;
    return this.state.data[offset] ?? 0;
  }
  write(offset: number, _size: number, value: number): void {
    if (offset >= 7) return;
    this.state.data[offset] = value;
    this.state.writes++;
  }
  peek(offset: number): number {
    return this.read(offset);
  }
}

/** A single port that looks at no offset, as it need not. */
@Device({ type: 'good-latch', summary: 'one byte by hand' })
@Pio({ base: 0x80, size: 1 })
export class GoodByte implements IoHandler {
  readonly state = state({ value: u8() });
  read(): number {
    return this.state.value;
  }
  write(_offset: number, _size: number, value: number): void {
    this.state.value = value;
  }
}

/** Ends the machine with what is written. */
@Device({ type: 'good-exit', summary: 'ends the machine' })
@Pio({ base: 0xf4, size: 1 })
export class GoodExit implements IoHandler {
  constructor(private readonly machine: MachineControl) {}
  read(): number {
    return 0;
  }
  write(_offset: number, _size: number, value: number): void {
    this.machine.exit(value);
  }
}

const BANKED = layout({
  width: 1,
  bank: 'lcr.dlab',
  regs: {
    rbr: reg(0, { access: 'ro', bank: 0 }),
    thr: reg(0, { access: 'wo', bank: 0 }),
    ier: reg(1, { bank: 0, fields: { rx: bit(0), tx: bit(1), unused: bits(7, 2, { access: 'reserved' }) } }),
    dll: reg(0, { bank: 1, reset: 12 }),
    dlm: reg(1, { bank: 1 }),
    iir: reg(2, { access: 'ro', reset: 1 }),
    fcr: reg(2, { access: 'wo', fields: { enable: bit(0), clear: bit(1) } }),
    lcr: reg(3, { fields: { length: bits(1, 0), dlab: bit(7) } }),
    lsr: reg(5, {
      access: 'ro',
      reset: 0x60,
      fields: { ready: bit(0), overrun: bit(1, { access: 'rc' }), empty: bits(6, 5) },
    }),
    scratch: reg(7, {}),
  },
});

/** Banked like a UART in loopback: a FIFO read with a side effect, bits that clear when read, a read that acknowledges. */
@Device({ type: 'good-banks', summary: 'banked registers and a FIFO', irq: 4 })
export class GoodBanks {
  @Pio({ base: 0x3f8 }) readonly regs = registers(BANKED, {
    rbr: { read: () => this.take(), peek: () => this.state.queue.peek() ?? 0 },
    thr: { write: (value) => this.put(value) },
    ier: { write: () => this.update() },
    iir: { read: () => this.cause(), peek: () => this.why() },
    fcr: { write: () => this.control() },
  });
  readonly state = state({ queue: fifo(4), sent: u8() });
  constructor(private readonly irq: IrqLine) {}

  private take(): number {
    const value = this.state.queue.shift() ?? 0;
    this.update();
    return value;
  }
  private put(value: number): void {
    if (!this.state.queue.push(value)) this.regs.lsr.overrun = true;
    this.state.sent = 1;
    this.update();
  }
  private control(): void {
    if (this.regs.fcr.clear) this.state.queue.clear();
    this.update();
  }
  private why(): number {
    if (this.regs.ier.rx && this.state.queue.length > 0) return 4;
    return this.regs.ier.tx && this.state.sent ? 2 : 1;
  }
  /** Reading why an interrupt came acknowledges the one for an empty transmitter. */
  private cause(): number {
    const why = this.why();
    if (why === 2) this.state.sent = 0;
    this.update();
    return why;
  }
  private update(): void {
    this.regs.lsr.ready = this.state.queue.length > 0;
    this.irq.set(this.why() !== 1);
  }
}

const CMOS = layout({
  width: 1,
  regs: {
    cmos: indexed({
      index: 0,
      data: 1,
      mask: 0x7f,
      regs: {
        seconds: reg(0x0, {}),
        alarm: reg(0x1, {}),
        a: reg(0xa, {
          reset: 0x26,
          fields: { rate: bits(3, 0), divider: bits(6, 4), updating: bit(7, { access: 'ro' }) },
        }),
        b: reg(0xb, { fields: { alarmIrq: bit(5), updateIrq: bit(4) } }),
        c: reg(0xc, { access: 'rc', fields: { update: bit(4), alarm: bit(5), irq: bit(7) } }),
        d: reg(0xd, { access: 'const', reset: 0x80 }),
        nvram: array(4, 1, reg(0x10, {})),
      },
    }),
  },
});

/** A clock behind an index: its flags clear when read, and reading them lowers the line. */
@Device({ type: 'good-cmos', summary: 'an indexed clock', irq: 8 })
export class GoodCmos {
  @Pio({ base: 0x70 }) readonly regs = registers(CMOS, {
    cmos: { c: { read: () => this.flags() } },
  });
  readonly state = state({ second: timer(() => this.tick()) });
  constructor(
    private readonly irq: IrqLine,
    private readonly clock: Clock,
  ) {}
  onReset(): void {
    this.state.second.at(Math.floor(this.clock.now() / 1000) * 1000 + 1000);
  }
  private flags(): number {
    this.irq.set(false);
    return this.regs.cmos.c.value;
  }
  private tick(): void {
    const { seconds, alarm, b, c } = this.regs.cmos;
    seconds.value = (seconds.value + 1) % 60;
    c.update = true;
    if (seconds.value === alarm.value) c.alarm = true;
    c.irq = (b.updateIrq && c.update) || (b.alarmIrq && c.alarm);
    this.irq.set(c.irq);
    this.state.second.after(1000);
  }
}

const CHANNELS = layout({
  width: 2,
  regs: {
    load: array(3, 4, reg(0, { access: 'rw' })),
    left: array(3, 4, reg(2, { access: 'ro' })),
    fired: reg(12, { access: 'w1c', fields: { channels: bits(2, 0) } }),
    once: reg(14, { access: 'w1s', fields: { lock: bits(7, 0) } }),
    drop: reg(16, { access: 'w0c', reset: 0xff, fields: { low: bits(7, 0) } }),
  },
});

/** Three channels with a timer and a line each, and an array in the layout. */
@Device({ type: 'good-channels', summary: 'three timers in one' })
export class GoodChannels {
  @Mmio() readonly regs = registers(CHANNELS, {
    load: { write: (value, _old, i) => this.start(i, value) },
    left: { read: (i) => this.left(i), peek: (i) => this.left(i) },
    fired: { write: () => this.update() },
  });
  readonly state = state({
    t0: timer(() => this.fire(0)),
    t1: timer(() => this.fire(1)),
    t2: timer(() => this.fire(2)),
  });
  constructor(
    @Irq('a', { default: 3 }) private readonly a: IrqLine,
    @Irq('b', { default: 4 }) private readonly b: IrqLine,
    private readonly clock: Clock,
  ) {}
  private timerOf(i: number) {
    return [this.state.t0, this.state.t1, this.state.t2][i] as (typeof this.state)['t0'];
  }
  private start(i: number, ms: number): void {
    if (ms === 0) this.timerOf(i).cancel();
    else this.timerOf(i).after(ms);
  }
  private left(i: number): number {
    return Math.floor((this.timerOf(i).deadline ?? this.clock.now()) - this.clock.now()) & 0xffff;
  }
  private fire(i: number): void {
    this.regs.fired.channels |= 1 << i;
    this.update();
  }
  private update(): void {
    this.a.set((this.regs.fired.channels & 1) !== 0);
    this.b.set((this.regs.fired.channels & 6) !== 0);
  }
}

const DMA = layout({
  width: 4,
  regs: {
    source: reg(0, {}),
    target: reg(4, {}),
    length: reg(8, { fields: { bytes: bits(7, 0) } }),
    go: reg(12, { access: 'wo', fields: { start: bit(0) } }),
    done: reg(16, { access: 'w1c', fields: { done: bit(0), error: bit(1) } }),
    random: reg(20, { access: 'ro' }),
  },
});

/** Copies guest memory, tells by message, and hands out random numbers. */
@Device({ type: 'good-dma', summary: 'copies guest memory' })
export class GoodDma {
  @Mmio({ base: 0xd000_1000 }) readonly regs = registers(DMA, {
    go: { write: () => this.copy() },
    random: { read: () => this.random.u32() },
  });
  constructor(
    private readonly memory: GuestMemory,
    private readonly msi: Msi,
    private readonly random: Random,
  ) {}
  private copy(): void {
    if (!this.regs.go.start) return;
    const { source, target, length, done } = this.regs;
    const from = source.value % 0x1000;
    const to = target.value % 0x1000;
    if (length.bytes === 0) done.error = true;
    else {
      const data = this.memory.read(from, length.bytes);
      for (let i = 0; i < data.length; i++) data[i] = (data[i] as number) + i + 1;
      this.memory.write(to, data);
      done.done = true;
    }
    this.msi.send(0xfee0_0000, done.value);
  }
}

/** Written by hand after a layout: what `settings.layouts` is for. */
export const BY_HAND = layout({
  width: 4,
  regs: {
    ctrl: reg(0, {}),
    status: reg(4, { access: 'w1c' }),
    id: reg(8, { access: 'ro' }),
  },
});

@Device({ type: 'good-by-hand', summary: 'a layout followed by hand' })
@Mmio({ base: 0xd000_2000, size: 12, impl: { min: 4, max: 4 } })
export class GoodByHand implements IoHandler {
  readonly state = state({ ctrl: u32(), status: u32() });
  read(offset: number): number {
    if (offset === 0) return this.state.ctrl;
    return offset === 4 ? this.state.status : 0x1234;
  }
  write(offset: number, _size: number, value: number): void {
    if (offset === 0) {
      this.state.ctrl = value;
      this.state.status |= value;
    } else if (offset === 4) this.state.status &= ~value;
  }
  peek(offset: number): number {
    return this.read(offset);
  }
}

/** Regions a backend may serve natively, beside a region by hand. */
@Device({ type: 'good-served', summary: 'latch, constant and doorbell', irq: 6 })
export class GoodServed {
  @Mmio({ base: 0xd000_3000, serve: 'latch' }) readonly cell = latch(4, 7);
  @Mmio({ base: 0xd000_3004, serve: 'constant' }) readonly magic = constant(2, 0x7274);
  @Mmio({ base: 0xd000_3008, serve: 'doorbell' }) readonly bell = doorbell(4, (value) => this.kick(value));
  readonly state = state({ kicks: u16(), last: u53() });
  constructor(private readonly irq: IrqLine) {}
  private kick(value: number): void {
    this.state.kicks++;
    this.state.last = value;
    this.irq.set(this.state.kicks % 2 === 1);
  }
}

/** Waits for something of the host's: its region is not the kit's, the other one is. */
@Device({ type: 'good-waiting', summary: 'defers one region' })
export class GoodWaiting {
  @Mmio({ base: 0xd000_4000, size: 8, defer: true }) readonly slow: AsyncIoHandler = {
    read: async (offset) => offset,
    write: async () => {},
  };
  @Mmio({ base: 0xd000_5000 }) readonly regs = registers(layout({ width: 4, regs: { scratch: reg(0, {}) } }), {});
}
