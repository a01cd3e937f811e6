import { Clock, Device, IrqLine, Mmio, Options, registers, state, timer } from '@trapline/core';
import { z } from 'zod';
import { DEVICE_NAME } from './spec.js';

/** What a machine file may say: `use(DeviceName, { hz: 50 })`. The descriptions become the help. */
export const DeviceNameOptions = z.object({
  hz: z.number().int().positive().default(1000).describe('ticks per second'),
});

/** A timer: expires after `period` ticks, counts, and raises its line until the guest clears the status. */
@Device({ type: 'device-name', summary: 'programmable timer', irq: 5, options: DeviceNameOptions })
export class DeviceName {
  // What the guest sees. Side effects are hooks; storing, access modes and widths are the framework's.
  @Mmio({ base: 0xd000_0000 }) readonly regs = registers(DEVICE_NAME, {
    ctrl: { write: () => this.arm() },
    status: { write: () => this.irq.set(this.regs.status.expired) },
  });

  // All else that has to be saved and restored. Timers follow the machine's time, never the host's.
  readonly state = state({ tick: timer(() => this.expire()) });

  constructor(
    private readonly irq: IrqLine,
    private readonly clock: Clock,
    private readonly options: Options<z.output<typeof DeviceNameOptions>>,
  ) {}

  private arm() {
    const { enable } = this.regs.ctrl;
    const ticks = Math.max(1, this.regs.period.value);
    if (enable) this.state.tick.at(this.clock.now() + (1000 * ticks) / this.options.hz);
    else this.state.tick.cancel();
  }

  private expire() {
    this.regs.count.value++;
    this.regs.status.expired = true;
    this.irq.set(true);
    if (this.regs.ctrl.periodic) this.arm();
    else this.regs.ctrl.enable = false;
  }
}
