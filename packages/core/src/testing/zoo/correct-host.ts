// Correct devices with a host behind them: what a snapshot does not hold, and what comes by itself.
import { z } from 'zod';
import {
  bit,
  bits,
  Device,
  fifo,
  type HostResource,
  hostResource,
  Inbox,
  IrqLine,
  layout,
  Mmio,
  Options,
  Pio,
  reg,
  registers,
  resourceOption,
  state,
} from '../../index.js';

/** A disk that keeps what is written, however often it is opened. */
export function memoryDisk(bytes = 64): HostResource<Uint8Array> {
  return hostResource('memory disk', () => new Uint8Array(bytes));
}

const DISK = layout({
  width: 1,
  regs: { sector: reg(0, { fields: { at: bits(5, 0) } }), data: reg(1, {}), busy: reg(2, { access: 'ro' }) },
});
const DiskOptions = z.object({ disk: resourceOption<Uint8Array>('disk') });

/** Its data outlives every reset, and is in no snapshot. */
@Device({ type: 'good-disk', summary: 'bytes on a host resource', options: DiskOptions })
export class GoodDisk {
  @Pio({ base: 0x1f0 }) readonly regs = registers(DISK, {
    data: {
      write: (value) => {
        this.options.disk[this.regs.sector.at] = value;
      },
      read: (): number => this.options.disk[this.regs.sector.at] as number,
      peek: (): number => this.options.disk[this.regs.sector.at] as number,
    },
  });
  constructor(readonly options: Options<z.output<typeof DiskOptions>>) {}
}

/** The host's end of a serial line: one listener, and bytes nobody listened to. */
export class Wire {
  readonly sent: number[] = [];
  private listener: ((byte: number) => void) | undefined;

  listen(listener: ((byte: number) => void) | undefined): void {
    if (listener && this.listener) throw new Error('the wire has two ends, not three');
    this.listener = listener;
  }
  type(byte: number): void {
    this.listener?.(byte);
  }
}
export function wire(): HostResource<Wire> {
  return hostResource('wire', () => new Wire());
}

const SERIAL = layout({
  width: 4,
  regs: {
    data: reg(0x0, { fields: { byte: bits(7, 0) } }),
    status: reg(0x4, { access: 'ro', fields: { ready: bit(0), lost: bit(1, { access: 'rc' }) } }),
    ctrl: reg(0x8, { fields: { irq: bit(0) } }),
  },
});
const SerialOptions = z.object({ line: resourceOption<Wire>('wire') });

/** Bytes come in by the machine's inbox, between two accesses, and are lost when its queue is full. */
@Device({ type: 'good-serial', summary: 'bytes from a wire', options: SerialOptions, irq: 4 })
export class GoodSerial {
  @Mmio({ base: 0xd000_6000 }) readonly regs = registers(SERIAL, {
    data: {
      write: (value) => {
        this.options.line.sent.push(value & 0xff);
      },
      read: () => this.take(),
      peek: () => this.state.queue.peek() ?? 0,
    },
    ctrl: { write: () => this.update() },
  });
  readonly state = state({ queue: fifo(2) });
  private readonly arrive: (byte: number) => void;

  constructor(
    private readonly irq: IrqLine,
    private readonly options: Options<z.output<typeof SerialOptions>>,
    inbox: Inbox,
  ) {
    this.arrive = inbox.port<number>('rx', (byte) => this.receive(byte));
  }

  onResume(): void {
    this.options.line.listen((byte) => this.arrive(byte));
  }
  onPause(): void {
    this.options.line.listen(undefined);
  }
  private receive(byte: number): void {
    if (!this.state.queue.push(byte)) this.regs.status.lost = true;
    this.update();
  }
  private take(): number {
    const byte = this.state.queue.shift() ?? 0;
    this.update();
    return byte;
  }
  private update(): void {
    this.regs.status.ready = this.state.queue.length > 0;
    this.irq.set(this.regs.ctrl.irq && this.regs.status.ready);
  }
}
