// A constructed machine without CPUs: devices, ranges, lines and the dispatcher that joins them.
import type { DependencyContainer } from 'tsyringe';
import { findOverlaps, rangeProblem } from '../bus/range.js';
import { unopened } from '../device/host-resource.js';
import {
  Clock,
  GuestMemory,
  type HostResource,
  Log,
  MachineControl,
  Msi,
  type Random,
  type TimerHandle,
} from '../device/tokens.js';
import { messageOf, TraplineError } from '../errors.js';
import { type ClientRange, IoreqClient } from '../ioreq/client.js';
import type { HandlerMarks } from '../ioreq/handler-watch.js';
import type { RangeSet } from '../ioreq/range-set.js';
import { type GuestReport, type LogSink, SinkLog } from '../log.js';
import { hostTime } from './clock.js';
import { DeviceDecoder } from './decoder.js';
import { DeviceInstance } from './device-instance.js';
import type { EventQueue } from './inbox.js';
import { constructDevice, machineContainer } from './inject.js';
import { InterruptLines, type IrqSource } from './interrupts.js';
import type { DevicePlan } from './plan.js';
import { regionsOf } from './regions.js';

/** What devices are given of the machine they are in. */
export interface MachineServices {
  readonly memory: GuestMemory;
  readonly clock: Clock;
  readonly control: MachineControl;
  readonly msi: Msi;
  readonly random: Random;
  readonly queue: EventQueue;
  /** The ranges of the machine, for those the guest programs. */
  readonly ranges: () => RangeSet;
  /** Told of all device code that runs outside of an access. */
  readonly marks: HandlerMarks;
  readonly logSink: LogSink;
  readonly report: (device: string) => GuestReport;
  /** A device failed outside of an access. */
  readonly failed: (client: IoreqClient, error: TraplineError) => void;
}

/** Host resources by the object that names them. */
export type OpenedResources = ReadonlyMap<HostResource<unknown>, unknown>;

/** The devices of one machine. */
export class Composition {
  readonly lines = new InterruptLines();
  readonly devices = new Map<string, DeviceInstance>();
  /** Devices that could not be constructed. */
  readonly broken = new Map<string, TraplineError>();
  private readonly container: DependencyContainer = machineContainer();

  constructor(private readonly services: MachineServices) {}

  /** Constructs devices; a constructor that throws is in `broken`, everything else wrong in `problems`. */
  construct(plans: readonly DevicePlan[], opened: OpenedResources | undefined, problems: TraplineError[]): void {
    for (const plan of plans) this.constructOne(plan, opened, problems);
    const ranges = this.ranges();
    for (const range of ranges) {
      const problem = rangeProblem(range);
      if (problem) problems.push(problem);
    }
    problems.push(...findOverlaps(ranges));
  }

  /** Constructs one device and keeps it. @returns undefined if its constructor threw */
  constructOne(
    plan: DevicePlan,
    opened: OpenedResources | undefined,
    problems: TraplineError[],
  ): DeviceInstance | undefined {
    const { services } = this;
    const log: Log = new SinkLog(plan.id, services.logSink, hostTime.now, services.report(plan.id));
    const client = new IoreqClient(plan.id, (message) => log.guestError(message));
    const fail = (error: TraplineError) => services.failed(client, error);
    let device: DeviceInstance | undefined;
    const guard = (what: string, run: () => void) => device?.guard(what, run);
    const lines = new Map([...plan.lines].map(([name, line]) => [name, this.lines.source(name || 'irq', line)]));
    const options: Record<string, unknown> = { ...plan.options };
    for (const { option, resource } of plan.resources)
      options[option] = opened ? opened.get(resource) : unopened(resource);
    const give = {
      lines,
      log,
      options: Object.freeze(options),
      msi: services.msi,
      memory: services.memory,
      clock: new DeviceClock(services.clock, guard),
      control: services.control,
      random: services.random,
      inbox: services.queue.inbox(plan.id, guard),
      decoder: new DeviceDecoder(client, log, services.ranges),
    };
    try {
      const construct = () => constructDevice(this.container, plan.device, give);
      const { instance, made } = DeviceInstance.construct({ log, clock: services.clock, guard }, () =>
        services.marks.run(plan.id, 'its constructor', construct),
      );
      device = new DeviceInstance(plan, instance, client, lines, fail, services.marks);
      device.adopt(made, problems);
      device.ranges = regionsOf(plan, instance, client, problems);
      this.devices.set(plan.id, device);
      return device;
    } catch (thrown) {
      const what = `the constructor of ${plan.metadata.className} threw: ${messageOf(thrown)}`;
      const error = new TraplineError('TL_DEVICE_CONSTRUCTOR', what, { who: plan.id, cause: thrown });
      this.broken.set(plan.id, error);
      this.abandon(client, lines.values(), error);
      return undefined;
    }
  }

  /** Takes from a client that has left the machine all it could still reach the guest with. */
  abandon(client: IoreqClient, lines: Iterable<IrqSource>, why: TraplineError): void {
    client.failure ??= why;
    this.services.ranges().remove((range) => range.client === client);
    this.services.queue.removeDevice(client.name);
    for (const line of lines) line.disconnect();
  }

  /** Levels a device drives, by line name. */
  levels(id: string): Readonly<Record<string, boolean>> {
    const lines = [...(this.devices.get(id)?.lines.values() ?? [])];
    return Object.fromEntries(lines.map((line) => [line.name, line.level]));
  }

  ranges(): ClientRange[] {
    return [...this.devices.values()].flatMap((device) => device.ranges);
  }
}

/** The machine's clock as a device sees it: a timer of its own that throws costs the device. */
class DeviceClock extends Clock {
  constructor(
    private readonly clock: Clock,
    private readonly guard: (what: string, run: () => void) => void,
  ) {
    super();
  }
  now(): number {
    return this.clock.now();
  }
  setTimer(deadline: number, fire: () => void): TimerHandle {
    return this.clock.setTimer(deadline, () => this.guard('a timer', fire));
  }
}

/** Guest memory that is connected once the backend is open. */
export class LateMemory extends GuestMemory {
  target: GuestMemory | undefined;
  private get now(): GuestMemory {
    if (this.target) return this.target;
    throw new TraplineError('TL_MEMORY_BOUNDS', 'guest memory was used before the machine was open', {
      fix: 'use it in hooks and handlers, not in the constructor',
    });
  }
  get size(): number {
    return this.now.size;
  }
  override get extents(): readonly { readonly address: number; readonly length: number }[] {
    return this.now.extents;
  }
  read(address: number, length: number): Uint8Array {
    return this.now.read(address, length);
  }
  write(address: number, bytes: Uint8Array): void {
    this.now.write(address, bytes);
  }
  view(address: number, length: number): Uint8Array {
    return this.now.view(address, length);
  }
  commit(address: number, length: number): void {
    this.now.commit(address, length);
  }
  contains(address: number, length: number): boolean {
    return this.now.contains(address, length);
  }
  readU8(address: number): number {
    return this.now.readU8(address);
  }
  readU16(address: number): number {
    return this.now.readU16(address);
  }
  readU32(address: number): number {
    return this.now.readU32(address);
  }
  writeU8(address: number, value: number): void {
    this.now.writeU8(address, value);
  }
  writeU16(address: number, value: number): void {
    this.now.writeU16(address, value);
  }
  writeU32(address: number, value: number): void {
    this.now.writeU32(address, value);
  }
}

/** A clock that is connected once the backend is open: the backend may own time. */
export class LateClock extends Clock {
  target: Clock | undefined;
  now(): number {
    return this.target?.now() ?? 0;
  }
  setTimer(deadline: number, fire: () => void): TimerHandle {
    if (this.target) return this.target.setTimer(deadline, fire);
    throw new TraplineError('TL_TIMER', 'a timer was set before the machine was open', {
      fix: 'set timers in onReset or in handlers, not in the constructor',
    });
  }
}

/** MSIs go to the backend once there is one. */
export class LateMsi extends Msi {
  target: ((address: number, data: number) => void) | undefined;
  send(address: number, data: number): void {
    this.target?.(address, data);
  }
}
