// Devices with one fault each. Every one comes in two: with its fault, and without.
import {
  bit,
  bits,
  bytes,
  Clock,
  Device,
  type DeviceClass,
  type IoHandler,
  IrqLine,
  layout,
  Mmio,
  Pio,
  reg,
  registers,
  state,
  timer,
  u8,
  u32,
} from '../../index.js';
import type { ConformanceSettings, PropertyId } from '../index.js';

/** One animal: a device, what is wrong with it, and the property that must notice. */
export interface Animal {
  readonly fault: string;
  readonly property: PropertyId;
  readonly settings?: ConformanceSettings;
  make(broken: boolean): DeviceClass;
}

const PLAIN = layout({
  width: 4,
  regs: {
    ctrl: reg(0, { fields: { enable: bit(0), sticky: bit(1) } }),
    data: reg(4, {}),
    count: reg(8, { access: 'ro' }),
  },
});

const BY_HAND = layout({
  width: 4,
  regs: { data: reg(0, {}), status: reg(4, { access: 'w1c' }), id: reg(8, { access: 'ro' }) },
});
const byHand = { layouts: { '': BY_HAND } };

export const ZOO: readonly Animal[] = [
  {
    fault: 'reset keeps a bit',
    property: 'reset-state',
    make(broken) {
      @Device({ type: 'zoo', summary: 'reset keeps a bit' })
      class Animal {
        @Mmio({ base: 0x1000 }) readonly regs = registers(PLAIN, {
          ctrl: {
            write: () => {
              this.kept = this.regs.ctrl.sticky;
            },
          },
        });
        private kept = false;
        onReset(): void {
          if (broken) this.regs.ctrl.sticky = this.kept;
        }
      }
      return Animal;
    },
  },
  {
    fault: 'w1c writes',
    property: 'clear-and-set',
    settings: byHand,
    make(broken) {
      @Device({ type: 'zoo', summary: 'a w1c register stores what is written' })
      @Mmio({ base: 0x1000, size: 12, impl: { min: 4 } })
      class Animal implements IoHandler {
        readonly state = state({ data: u32(), status: u32() });
        read(offset: number): number {
          return offset === 0 ? this.state.data : offset === 4 ? this.state.status : 0x51;
        }
        write(offset: number, _size: number, value: number): void {
          if (offset === 0) this.state.data = value;
          if (offset === 4) this.state.status = broken ? value : this.state.status & ~value;
        }
        peek(offset: number): number {
          return this.read(offset);
        }
      }
      return Animal;
    },
  },
  {
    fault: 'ro writable',
    property: 'read-only',
    settings: byHand,
    make(broken) {
      @Device({ type: 'zoo', summary: 'a read-only register can be written' })
      @Mmio({ base: 0x1000, size: 12, impl: { min: 4 } })
      class Animal implements IoHandler {
        readonly state = state({ data: u32(), id: u32(0x51) });
        read(offset: number): number {
          return offset === 0 ? this.state.data : offset === 8 ? this.state.id : 0;
        }
        write(offset: number, _size: number, value: number): void {
          if (offset === 0) this.state.data = value;
          if (offset === 8 && broken) this.state.id = value;
        }
      }
      return Animal;
    },
  },
  {
    fault: 'unsaved state',
    property: 'save-restore',
    make(broken) {
      @Device({ type: 'zoo', summary: 'counts where nobody saves it' })
      class Animal {
        @Mmio({ base: 0x1000 }) readonly regs = registers(PLAIN, {
          data: { write: () => this.counted() },
          count: { read: () => (broken ? this.writes : this.state.writes) },
        });
        readonly state = state({ writes: u8() });
        private writes = 0;
        onReset(): void {
          this.writes = 0;
        }
        private counted(): void {
          this.writes = (this.writes + 1) & 0xff;
          this.state.writes++;
        }
      }
      return Animal;
    },
  },
  {
    fault: 'line left up',
    property: 'reset-lines',
    make(broken) {
      @Device({ type: 'zoo', summary: 'raises its line again after a reset' })
      class Animal {
        @Mmio({ base: 0x1000 }) readonly regs = registers(PLAIN, {
          ctrl: { write: () => this.update(this.regs.ctrl.enable) },
        });
        private pending = false;
        constructor(private readonly irq: IrqLine) {}
        onReset(): void {
          if (!broken) this.pending = false;
          this.update(this.pending);
        }
        private update(pending: boolean): void {
          this.pending = pending;
          this.irq.set(pending);
        }
      }
      return Animal;
    },
  },
  {
    fault: 'throw on width 2',
    property: 'never-fails',
    make(broken) {
      @Device({ type: 'zoo', summary: 'knows no 16-bit access' })
      @Pio({ base: 0x300, size: 4 })
      class Animal implements IoHandler {
        readonly state = state({ data: bytes(4) });
        read(offset: number, size: number): number {
          if (size === 2 && broken) throw new Error('16-bit access');
          let value = 0;
          for (let i = 0; i < size; i++) value += (this.state.data[offset + i] ?? 0) * 2 ** (8 * i);
          return value;
        }
        write(offset: number, size: number, value: number): void {
          for (let i = 0; i < size; i++) this.state.data[offset + i] = value / 2 ** (8 * i);
        }
      }
      return Animal;
    },
  },
  {
    fault: '33-bit value',
    property: 'never-fails',
    make(broken) {
      @Device({ type: 'zoo', summary: 'adds without wrapping' })
      @Mmio({ base: 0x1000, size: 4, impl: { min: 4, max: 4 } })
      class Animal implements IoHandler {
        readonly state = state({ sum: u32() });
        read(): number {
          return broken ? this.state.sum + 1 : (this.state.sum + 1) >>> 0;
        }
        write(_offset: number, _size: number, value: number): void {
          this.state.sum = value;
        }
      }
      return Animal;
    },
  },
  {
    fault: 'peek with side effect',
    property: 'peek-effect',
    make(broken) {
      @Device({ type: 'zoo', summary: 'a peek acknowledges' })
      class Animal {
        @Mmio({ base: 0x1000 }) readonly regs = registers(PLAIN, {
          count: { read: () => this.next(), peek: () => (broken ? this.next() : this.state.given & 0xff) },
        });
        readonly state = state({ given: u8() });
        private next(): number {
          return this.state.given++;
        }
      }
      return Animal;
    },
  },
  {
    fault: 'timer not restored',
    property: 'save-restore',
    make(broken) {
      @Device({ type: 'zoo', summary: 'sets its timer past the framework' })
      class Animal {
        @Mmio({ base: 0x1000 }) readonly regs = registers(PLAIN, { ctrl: { write: () => this.start() } });
        readonly state = state({ alarm: timer(() => this.irq.set(true)) });
        private pending: { cancel(): void } | undefined;
        constructor(
          private readonly irq: IrqLine,
          private readonly clock: Clock,
        ) {}
        onReset(): void {
          this.pending?.cancel();
        }
        private start(): void {
          if (!broken) this.state.alarm.after(10);
          else {
            this.pending?.cancel();
            this.pending = this.clock.setTimer(this.clock.now() + 10, () => this.irq.set(true));
          }
        }
      }
      return Animal;
    },
  },
  {
    fault: 'NaN',
    property: 'never-fails',
    make(broken) {
      @Device({ type: 'zoo', summary: 'divides by what the guest wrote' })
      class Animal {
        @Mmio({ base: 0x1000 }) readonly regs = registers(PLAIN, { count: { read: (): number => this.ratio() } });
        private ratio(): number {
          const { value } = this.regs.data;
          return value === 0 && !broken ? 0 : Math.floor((value * 100) / value);
        }
      }
      return Animal;
    },
  },
  {
    fault: 'promise from a sync handler',
    property: 'never-fails',
    make(broken) {
      @Device({ type: 'zoo', summary: 'waits without saying so' })
      @Pio({ base: 0x300, size: 1 })
      class Animal implements IoHandler {
        readonly state = state({ value: u8() });
        read(): number {
          return broken ? (Promise.resolve(this.state.value) as unknown as number) : this.state.value;
        }
        write(_offset: number, _size: number, value: number): void {
          this.state.value = value;
        }
      }
      return Animal;
    },
  },
  {
    fault: 'out-of-range offset accepted',
    property: 'out-of-range',
    make(broken) {
      @Device({ type: 'zoo', summary: 'folds every offset into its four bytes' })
      @Pio({ base: 0x300, size: 4, impl: { max: 1 } })
      class Animal implements IoHandler {
        readonly state = state({ data: bytes(4) });
        read(offset: number): number {
          return this.state.data[offset & 3] as number;
        }
        write(offset: number, _size: number, value: number): void {
          if (broken || offset < 4) this.state.data[offset & 3] = value;
        }
      }
      return Animal;
    },
  },
  {
    fault: 'promise from a write hook',
    property: 'never-fails',
    make(broken) {
      @Device({ type: 'zoo', summary: 'acts when the guest has long gone on' })
      class Animal {
        @Mmio({ base: 0x1000 }) readonly regs = registers(PLAIN, {
          ctrl: { write: broken ? async () => this.act() : () => this.act() },
        });
        private act(): void {
          this.regs.data.value++;
        }
      }
      return Animal;
    },
  },
  {
    fault: 'a timer that outlives a reset',
    property: 'reset-lines',
    make(broken) {
      @Device({ type: 'zoo', summary: 'its timer fires after the reset' })
      class Animal {
        @Mmio({ base: 0x1000 }) readonly regs = registers(PLAIN, { ctrl: { write: () => this.start() } });
        readonly state = state({ alarm: timer(() => this.irq.set(true)) });
        constructor(
          private readonly irq: IrqLine,
          private readonly clock: Clock,
        ) {}
        private start(): void {
          if (broken) this.clock.setTimer(this.clock.now() + 10, () => this.irq.set(true));
          else this.state.alarm.after(10);
        }
      }
      return Animal;
    },
  },
  {
    fault: 'reserved bits that change',
    property: 'fixed-bits',
    make(broken) {
      const id = layout({
        width: 2,
        regs: {
          id: reg(0, {
            reset: 0x5000,
            fields: { top: bits(15, 8, { access: 'reserved' }), level: bits(7, 0, { access: 'ro' }) },
          }),
          level: reg(2, {}),
        },
      });
      @Device({ type: 'zoo', summary: 'its level spills into reserved bits' })
      class Animal {
        @Pio({ base: 0x300 }) readonly regs = registers(id, {
          id: { read: (): number => 0x5000 + (broken ? this.regs.level.value & 0xfff : this.regs.level.value & 0xff) },
        });
      }
      return Animal;
    },
  },
  {
    fault: 'state two instances share',
    property: 'deterministic',
    make(broken) {
      let shared = 0;
      @Device({ type: 'zoo', summary: 'counts for all its kind' })
      class Animal {
        @Mmio({ base: 0x1000 }) readonly regs = registers(PLAIN, { count: { read: () => this.next() } });
        readonly state = state({ own: u32() });
        private next(): number {
          shared++;
          this.state.own++;
          return broken ? shared : this.state.own;
        }
      }
      return Animal;
    },
  },
  {
    fault: 'a register that reads otherwise in bytes',
    property: 'read-widths',
    settings: byHand,
    make(broken) {
      @Device({ type: 'zoo', summary: 'gives its low byte for every byte' })
      @Mmio({ base: 0x1000, size: 12 })
      class Animal implements IoHandler {
        readonly state = state({ data: u32() });
        read(offset: number, size: number): number {
          if (offset >= 4) return 0;
          const value = broken && size === 1 ? this.state.data : this.state.data >>> (8 * offset);
          return size === 4 ? value >>> 0 : value & (2 ** (8 * size) - 1);
        }
        write(offset: number, size: number, value: number): void {
          if (offset >= 4) return;
          const mask = (2 ** (8 * size) - 1) * 2 ** (8 * offset);
          this.state.data = (this.state.data & ~mask) | ((value << (8 * offset)) & mask);
        }
        peek(offset: number, size: number): number {
          return this.read(offset, size);
        }
      }
      return Animal;
    },
  },
  {
    fault: 'a peek that lies',
    property: 'peek-value',
    make(broken) {
      @Device({ type: 'zoo', summary: 'shows tools an older value' })
      class Animal {
        @Mmio({ base: 0x1000 }) readonly regs = registers(PLAIN, {
          data: { peek: (): number => (broken ? this.regs.data.value & 0xffff : this.regs.data.value) },
        });
      }
      return Animal;
    },
  },
  {
    fault: 'a reset that counts',
    property: 'reset-twice',
    make(broken) {
      @Device({ type: 'zoo', summary: 'every second reset is another one' })
      class Animal {
        @Mmio({ base: 0x1000 }) readonly regs = registers(PLAIN, {});
        private resets = 0;
        onReset(): void {
          this.resets++;
          this.regs.ctrl.sticky = broken && this.resets % 2 === 0;
        }
      }
      return Animal;
    },
  },
  {
    fault: 'a state that cannot be restored',
    property: 'save-restore',
    make(broken) {
      const named = layout({
        width: 1,
        regs: { mode: reg(0, { fields: { mode: bits(1, 0, { 0: 'off', 1: 'slow', 2: 'fast' }) } }), next: reg(1, {}) },
      });
      @Device({ type: 'zoo', summary: 'leaves its modes' })
      class Animal {
        @Pio({ base: 0x300 }) readonly regs = registers(named, { next: { write: () => this.advance() } });
        private advance(): void {
          this.regs.mode.value = broken ? 3 : 2;
        }
      }
      return Animal;
    },
  },
  {
    fault: 'a timer without end',
    property: 'never-fails',
    make(broken) {
      @Device({ type: 'zoo', summary: 'fires for ever at one instant' })
      class Animal {
        @Mmio({ base: 0x1000 }) readonly regs = registers(PLAIN, { data: { write: (ms) => this.every(ms) } });
        readonly state = state({ tick: timer(() => this.every(this.regs.data.value)) });
        private every(ms: number): void {
          this.state.tick.after(broken ? ms : Math.max(1, ms));
        }
      }
      return Animal;
    },
  },
  {
    fault: 'a register block that was tampered with',
    property: 'plain-registers',
    make(broken) {
      @Device({ type: 'zoo', summary: 'drops the top byte of what is written' })
      class Animal {
        @Mmio({ base: 0x1000 }) readonly regs = registers(PLAIN, {});
        constructor() {
          const block = (this.regs as unknown as Record<symbol, IoHandler>)[
            Symbol.for('trapline.registers')
          ] as IoHandler;
          const write = block.write.bind(block);
          block.write = (offset, size, value) => write(offset, size, broken ? value & 0xff_ffff : value);
        }
      }
      return Animal;
    },
  },
];
