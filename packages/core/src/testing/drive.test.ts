import { describe, expect, it } from 'vitest';
import { z } from 'zod';
import {
  bit,
  bits,
  Clock,
  Device,
  defineMachine,
  type IoHandler,
  IrqLine,
  layout,
  MachineControl,
  Mmio,
  Options,
  Pio,
  reg,
  registers,
  start,
  state,
  timer,
  u53,
  use,
} from '../index.js';
import { drive } from './drive.js';

@Device({ type: 'debug-exit', summary: 'ends the VM with the byte written' })
@Pio({ base: 0xf4, size: 1 })
class DebugExit implements IoHandler {
  constructor(private readonly machine: MachineControl) {}
  read() {
    return 0;
  }
  write(_offset: number, _size: number, value: number) {
    this.machine.exit(value);
  }
}

const TIMER = layout({
  width: 4,
  regs: {
    ctrl: reg(0x0, { access: 'rw', fields: { enable: bit(0), mode: bits(2, 1, { 0: 'oneshot', 1: 'periodic' }) } }),
    status: reg(0x4, { access: 'w1c', fields: { fired: bit(0) } }),
  },
});
const TimerOptions = z.object({ hz: z.number().int().positive().default(100).describe('tick rate, Hz') });

@Device({ type: 'acme-timer', summary: 'programmable timer', irq: 5, options: TimerOptions })
class Timer {
  @Mmio({ base: 0xd000_0000 }) readonly regs = registers(TIMER, {
    ctrl: { write: () => this.arm() },
    status: { write: () => this.irq.set(this.regs.status.fired) },
  });
  readonly state = state({ nextTick: u53(), tick: timer(() => this.fire()) });
  constructor(
    private readonly irq: IrqLine,
    private readonly clock: Clock,
    private readonly options: Options<z.output<typeof TimerOptions>>,
  ) {}
  private arm() {
    if (this.regs.ctrl.enable && this.regs.ctrl.mode === 'periodic')
      this.state.tick.at(this.clock.now() + 1000 / this.options.hz);
    else this.state.tick.cancel();
  }
  private fire() {
    this.regs.status.fired = true;
    this.irq.set(true);
    this.arm();
  }
}

describe('drive', () => {
  it('lets a test be the guest, the clock and the interrupt controller', () => {
    const t = drive(Timer, { hz: 10 });
    t.guest.regs.ctrl.write(0b11);
    t.clock.advance(100);
    expect(t.irq.level).toBe(true);
    expect(t.guest.regs.status.fields()).toEqual({ fired: true });
    t.guest.regs.status.write({ fired: true });
    expect(t.irq.level).toBe(false);
    expect(t.guest.regs.status.read()).toBe(0);
  });

  it('runs a composed machine on sim-js until the guest leaves', async () => {
    const machine = defineMachine({
      memory: '1M',
      devices: { tick: use(Timer, { hz: 50 }), exit: use(DebugExit) },
      guest: { kind: 'script', script: (cpu) => cpu.write('pio', 0xf4, 1, 7) },
    });
    const vm = await start(machine, { backend: 'sim-js' });
    expect(vm.devices.tick).toBeInstanceOf(Timer);
    expect(await vm.wait()).toEqual({ reason: 'exit', code: 7 });
    await vm.close();
  });
});
