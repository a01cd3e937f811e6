// What one device is given of the machine it is in. All of it ends when the device leaves: whatever
// it still holds, and whoever of the host still calls it, reaches the guest no more.
import { unopened } from '../device/host-resource.js';
import { Clock, type Decoder, type Log, MachineControl, Msi, type Random, type TimerHandle } from '../device/tokens.js';
import type { TraplineError } from '../errors.js';
import { IoreqClient } from '../ioreq/client.js';
import type { RangeSet } from '../ioreq/range-set.js';
import { type GuestReport, type LogSink, SinkLog } from '../log.js';
import { hostTime } from './clock.js';
import { DeviceDecoder } from './decoder.js';
import type { OpenedResources } from './host-resources.js';
import type { DeviceInbox, EventQueue } from './inbox.js';
import type { Provisions } from './inject.js';
import type { InterruptLines, IrqSource } from './interrupts.js';
import { LateMemory, type MemoryPort } from './late.js';
import type { DevicePlan } from './plan.js';

/** What devices are given of the machine they are in. */
export interface MachineServices {
  readonly memory: MemoryPort;
  readonly clock: Clock;
  readonly control: MachineControl;
  readonly msi: Msi;
  readonly random: Random;
  readonly queue: EventQueue;
  /** The ranges of the machine, for those the guest programs. */
  readonly ranges: () => RangeSet;
  readonly logSink: LogSink;
  readonly report: (device: string) => GuestReport;
  /** A device failed outside of an access. */
  readonly failed: (client: IoreqClient, error: TraplineError) => void;
}

/** Runs something as a device: what it throws costs the device. */
export type Guard = (what: string, run: () => void) => void;

/** Is a device still in its machine? One object for everything it was given. */
interface Membership {
  ended: boolean;
}

/** Everything one device is given. */
export class DeviceServices implements Provisions {
  readonly client: IoreqClient;
  readonly lines: ReadonlyMap<string, IrqSource>;
  readonly options: object;
  readonly memory: LateMemory;
  readonly clock: DeviceClock;
  readonly control: MachineControl;
  readonly msi: Msi;
  readonly random: Random;
  readonly log: Log;
  readonly inbox: DeviceInbox;
  readonly decoder: Decoder;
  private readonly membership: Membership = { ended: false };

  /** @param opened host resources by what names them; undefined where none is open, and stand-ins are given */
  constructor(
    plan: DevicePlan,
    private readonly machine: MachineServices,
    lines: InterruptLines,
    opened: OpenedResources | undefined,
    guard: Guard,
  ) {
    const { id } = plan;
    const log = new SinkLog(id, machine.logSink, hostTime.now, machine.report(id));
    this.log = log;
    this.client = new IoreqClient(id, (message) => log.guestError(message));
    this.lines = new Map([...plan.lines].map(([name, line]) => [name, lines.source(name || 'irq', line)]));
    const options: Record<string, unknown> = { ...plan.options };
    for (const { option, resource } of plan.resources)
      options[option] = opened ? opened.get(resource) : unopened(resource);
    this.options = Object.freeze(options);
    this.memory = new LateMemory(machine.memory);
    this.clock = new DeviceClock(machine.clock, guard);
    this.control = new DeviceControl(machine.control, this.membership);
    this.msi = new DeviceMsi(machine.msi, this.membership);
    this.random = machine.random;
    this.inbox = machine.queue.inbox(id, guard);
    this.decoder = new DeviceDecoder(this.client, log, machine.ranges);
  }

  /** Takes from a device that leaves, or was never finished, all it could still reach the guest with. */
  end(why: TraplineError): void {
    this.membership.ended = true;
    const { client } = this;
    client.failure ??= why;
    this.machine.ranges().remove((range) => range.client === client);
    this.inbox.end();
    this.clock.end();
    this.memory.end();
    for (const line of this.lines.values()) line.disconnect();
  }
}

const NO_TIMER: TimerHandle = { cancel: () => {} };

/** The machine's clock as one device sees it: a timer of its own that throws costs the device. */
export class DeviceClock extends Clock {
  private readonly pending = new Set<TimerHandle>();
  private ended = false;

  constructor(
    private readonly clock: Clock,
    private readonly guard: Guard,
  ) {
    super();
  }

  now(): number {
    return this.clock.now();
  }

  setTimer(deadline: number, fire: () => void): TimerHandle {
    if (this.ended) return NO_TIMER;
    const timer = this.clock.setTimer(deadline, () => {
      this.pending.delete(timer);
      this.guard('a timer', fire);
    });
    this.pending.add(timer);
    return {
      cancel: () => {
        this.pending.delete(timer);
        timer.cancel();
      },
    };
  }

  /** Cancels every timer the device has set. */
  cancelAll(): void {
    for (const timer of this.pending) timer.cancel();
    this.pending.clear();
  }

  /** The device leaves: its timers never fire, and it sets no other. */
  end(): void {
    this.ended = true;
    this.cancelAll();
  }
}

class DeviceMsi extends Msi {
  constructor(
    private readonly msi: Msi,
    private readonly membership: Membership,
  ) {
    super();
  }
  send(address: number, data: number): void {
    if (!this.membership.ended) this.msi.send(address, data);
  }
}

class DeviceControl extends MachineControl {
  constructor(
    private readonly control: MachineControl,
    private readonly membership: Membership,
  ) {
    super();
  }
  exit(code: number): void {
    if (!this.membership.ended) this.control.exit(code);
  }
  powerOff(): void {
    if (!this.membership.ended) this.control.powerOff();
  }
  reset(): void {
    if (!this.membership.ended) this.control.reset();
  }
}
