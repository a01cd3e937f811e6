import type { DeviceClass } from '../../device/metadata.js';
import type { UseConfig } from '../../machine/define.js';
import { MachineMaker } from '../driven-machine.js';
import { type DeviceMap, mapDevice } from './device-map.js';
import type { ConformanceSettings } from './settings.js';
import { Subject } from './subject.js';

/** Options of a device under test; a function where each instance needs its own. */
export type OptionsOrMaker<C extends DeviceClass> = UseConfig<C> | (() => UseConfig<C>);

/** Everything a property needs: new instances of one device, and what is known of it. */
export class Kit {
  readonly map: DeviceMap;
  private readonly maker: MachineMaker | undefined;

  /** @throws what `drive()` throws */
  constructor(
    readonly device: DeviceClass,
    readonly options: object | (() => object),
    readonly settings: ConformanceSettings,
  ) {
    this.maker = typeof options === 'function' ? undefined : new MachineMaker(device, options);
    const first = this.fresh();
    this.map = mapDevice(first.machine, settings.layouts ?? {});
    this.done(first);
  }

  /** A device just powered on. */
  fresh(): Subject {
    const maker = this.maker ?? new MachineMaker(this.device, (this.options as () => object)());
    return new Subject(maker.make(), this.settings);
  }

  /** Gives back what a subject holds of the host. */
  done({ machine }: Subject): void {
    if (machine.opened.size > 0) void machine.vm.close();
  }
}
