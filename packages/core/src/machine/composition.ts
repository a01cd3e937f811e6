// A constructed machine without CPUs: devices, ranges, lines.
import type { DependencyContainer } from 'tsyringe';
import { messageOf, TraplineError } from '../errors.js';
import type { ClientRange } from '../ioreq/client.js';
import { DeviceInstance } from './device-instance.js';
import { DeviceServices, type MachineServices } from './device-services.js';
import type { OpenedResources } from './host-resources.js';
import { constructDevice, machineContainer } from './inject.js';
import { InterruptLines } from './interrupts.js';
import type { DevicePlan } from './plan.js';
import { regionsOf } from './regions.js';

/** The devices of one machine. */
export class Composition {
  readonly lines = new InterruptLines();
  readonly devices = new Map<string, DeviceInstance>();
  /** Devices that could not be constructed. */
  readonly broken = new Map<string, TraplineError>();
  private readonly container: DependencyContainer = machineContainer();

  constructor(private readonly services: MachineServices) {}

  /**
   * Constructs devices and keeps them; one whose constructor throws is in `broken`, everything else wrong
   * but their ranges in `problems`.
   */
  construct(plans: readonly DevicePlan[], opened: OpenedResources | undefined, problems: TraplineError[]): void {
    for (const plan of plans) {
      try {
        this.devices.set(plan.id, this.make(plan, opened, problems));
      } catch (thrown) {
        this.broken.set(plan.id, thrown as TraplineError);
      }
    }
  }

  /**
   * Constructs one device, which is not in the machine yet.
   * @throws TraplineError `TL_DEVICE_CONSTRUCTOR`; nothing of it is left then
   */
  make(plan: DevicePlan, opened: OpenedResources | undefined, problems: TraplineError[]): DeviceInstance {
    let device: DeviceInstance | undefined;
    const guard = (what: string, run: () => void) => device?.guard(what, run);
    const services = new DeviceServices(plan, this.services, this.lines, opened, guard);
    const { log, clock, client } = services;
    try {
      const { instance, made } = DeviceInstance.construct({ log, clock, guard }, () =>
        constructDevice(this.container, plan.device, services),
      );
      device = new DeviceInstance(plan, instance, services, (error) => this.services.failed(client, error));
      device.adopt(made, problems);
      device.ranges = regionsOf(plan, instance, client, problems);
      return device;
    } catch (thrown) {
      const what = `the constructor of ${plan.metadata.className} threw: ${messageOf(thrown)}`;
      const error = new TraplineError('TL_DEVICE_CONSTRUCTOR', what, { who: plan.id, cause: thrown });
      services.end(error);
      throw error;
    }
  }

  /** Takes a device out: it sleeps, and reaches the guest no more. */
  remove(device: DeviceInstance, why: TraplineError): void {
    // First: its hook may ask for the same.
    if (this.devices.get(device.id) === device) this.devices.delete(device.id);
    device.pause();
    device.services.end(why);
    for (const part of device.parts.values()) part.reset();
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
