import { TraplineError } from '../errors.js';
import { type DeviceClass, deviceMetadata } from './metadata.js';

/** Version of what plugins and Trapline agree on; raised when a plugin written for the old one would break. */
export const PLUGIN_API = 1;

const PLUGIN: unique symbol = Symbol.for('trapline.plugin');

/** A package's device types. */
export interface Plugin {
  readonly [PLUGIN]: true;
  readonly api: number;
  /** The package's name. */
  readonly name: string;
  readonly devices: readonly DeviceClass[];
}

/** Declares what a package offers; it exports the result as `plugin`. */
export function definePlugin(spec: { readonly name: string; readonly devices: readonly DeviceClass[] }): Plugin {
  for (const device of spec.devices) {
    if (deviceMetadata(device)) continue;
    throw new TraplineError('TL_DEVICE_CLASS', `${device.name} is not decorated with @Device`, { who: spec.name });
  }
  return Object.freeze({ [PLUGIN]: true as const, api: PLUGIN_API, ...spec });
}

/** Is this what `definePlugin` makes, in any copy and version of core? */
export function isPlugin(value: unknown): value is Plugin {
  return typeof value === 'object' && value !== null && PLUGIN in value;
}
