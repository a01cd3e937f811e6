// Devices that come and go while their machine lives.
import type { BackendCapabilities } from '../backend/backend.js';
import { joinProblems, rangeText } from '../bus/range.js';
import type { DeviceClass } from '../device/metadata.js';
import { CompositionError, TraplineError } from '../errors.js';
import type { ClientRange } from '../ioreq/client.js';
import { mapRows } from './address-map.js';
import type { Composition } from './composition.js';
import type { Placement } from './define.js';
import type { DeviceInstance } from './device-instance.js';
import type { HostResources } from './host-resources.js';
import type { IoPath } from './io-path.js';
import type { OneAtATime } from './one-at-a-time.js';
import { type DevicePlan, deviceCapabilityProblems, planDevice, windowProblems } from './plan.js';
import { tryOut, untold } from './preview.js';

/** How a device is attached. */
export interface AttachOptions {
  /** Aborts opening of its host resources. */
  readonly signal?: AbortSignal;
}

/** What this needs of the machine. */
export interface HotPlugHost {
  readonly composition: Composition;
  readonly io: IoPath;
  readonly resources: HostResources;
  readonly changes: OneAtATime;
  readonly backend: { readonly name: string; readonly capabilities: BackendCapabilities };
  /** Are its devices awake? */
  readonly lively: boolean;
  /** @throws TraplineError unless it is running or paused */
  mustLive(): void;
  /** Closes the host resources that only this device used. Never rejects. */
  release(plan: DevicePlan): Promise<void>;
  told(event: 'device:attached' | 'device:detached', device: string): void;
  warn(message: string): void;
}

/** Attaches devices to one machine, and detaches them. */
export class HotPlug {
  /** Ids of devices that are being attached. */
  private readonly coming = new Set<string>();

  constructor(private readonly host: HotPlugHost) {}

  /** See `Vm.attach`. */
  async attach(id: string, device: DeviceClass, config: Placement, options: AttachOptions): Promise<object> {
    const { host } = this;
    host.mustLive();
    const plan = this.checked(id, device, config);
    this.coming.add(id);
    try {
      // Whatever called this, an access perhaps, is over when it goes on.
      await host.resources.open(plan, options.signal);
      return await host.changes.brief(() => this.admit(plan));
    } catch (thrown) {
      await host.release(plan);
      throw thrown;
    } finally {
      this.coming.delete(id);
    }
  }

  /** See `Vm.detach`. What the guest can see of it happens before this returns. */
  async detach(id: string): Promise<void> {
    const { composition, io } = this.host;
    const device = composition.devices.get(id);
    if (!device) throw new TraplineError('TL_USAGE', `there is no device ${id}`, { who: id });
    const why = new TraplineError('TL_VM_STATE', 'the device was detached', { who: id });
    io.uninterrupted(() => {
      composition.remove(device, why);
      io.deferred.abandon(device.client);
      this.host.told('device:detached', id);
    });
    await this.host.release(device.plan);
  }

  /** Plans a device. @throws CompositionError with everything that is wrong with it in this machine */
  private checked(id: string, device: DeviceClass, config: Placement): DevicePlan {
    const { composition, backend } = this.host;
    const problems: TraplineError[] = [];
    if (composition.devices.has(id) || this.coming.has(id)) {
      const fix = 'detach that one first, or choose another id';
      problems.push(new TraplineError('TL_USAGE', `there is a device ${id} already`, { who: id, fix }));
    }
    const plan = planDevice(id, device, config, problems);
    if (plan) {
      problems.push(...deviceCapabilityProblems(plan, backend.name, backend.capabilities));
      // Where nothing has to be opened, and nothing is wrong yet, the device itself will show the rest.
      if (problems.length > 0 || plan.resources.length > 0) {
        const trial = tryOut([plan], problems);
        problems.push(...this.rangeProblems(trial.ranges(), trial));
        if (problems.length > 0) problems.push(...untold(trial, problems));
      }
    }
    if (problems.length > 0) throw new CompositionError(problems);
    return plan as DevicePlan;
  }

  private rangeProblems(ranges: readonly ClientRange[], { devices }: Composition): TraplineError[] {
    const { io, backend } = this.host;
    return [
      ...joinProblems(io.dispatcher.set.list(), ranges),
      ...windowProblems(mapRows(ranges, devices), backend.name, backend.capabilities),
    ];
  }

  /** Between two accesses: the device is not there, then it is. */
  private admit(plan: DevicePlan): object {
    let device: DeviceInstance | undefined;
    this.host.io.uninterrupted(() => {
      device = this.bringUp(plan);
    });
    return (device as DeviceInstance).instance;
  }

  private bringUp(plan: DevicePlan): DeviceInstance {
    const { host } = this;
    const { composition } = host;
    host.mustLive();
    const problems: TraplineError[] = [];
    const device = composition.make(plan, host.resources.opened, problems);
    try {
      problems.push(...this.rangeProblems(device.ranges, composition));
      if (problems.length > 0) throw new CompositionError(problems);
      composition.devices.set(plan.id, device);
      device.reset('power');
      this.mustStay(device);
      for (const { range, under } of host.io.dispatcher.set.add(device.ranges))
        host.warn(`${rangeText(range)} of ${range.owner} lies under ${under.owner}`);
      if (host.lively) device.resume();
      this.mustStay(device);
    } catch (thrown) {
      composition.remove(device, new TraplineError('TL_VM_STATE', 'the device was not attached', { who: plan.id }));
      throw thrown;
    }
    composition.broken.delete(plan.id);
    host.told('device:attached', plan.id);
    return device;
  }

  /** Who is told that it failed may have detached it, or ended the machine. */
  private mustStay({ id }: DeviceInstance): void {
    this.host.mustLive();
    if (this.host.composition.devices.has(id)) return;
    throw new TraplineError('TL_VM_STATE', 'was detached while it was being attached', { who: id });
  }
}
