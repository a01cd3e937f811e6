import type { Guest } from '../backend/backend.js';
import type { Attachment } from '../device/attachment.js';
import type { DeviceClass } from '../device/metadata.js';
import type { OptionsOf } from '../device/tokens.js';
import type { DefaultPolicy } from '../ioreq/default-client.js';
import type { LineMode } from './interrupts.js';

/** The keys of a device's entry that are the framework's, not the device's. */
export interface Placement {
  /** Where its region is; by name where it has several. Default: the `base` it declares. */
  readonly at?: Attachment | Readonly<Record<string, Attachment>>;
  /** Its interrupt line; by name where it has several. Default: the one it declares. */
  readonly irq?: number | Readonly<Record<string, number>>;
}

/** What `use` takes for a device class: placement and the device's own options. */
export type UseConfig<C> = Placement & Partial<OptionsOf<C>>;

/** A device class with its configuration: pure data. */
export interface DeviceUse<C extends DeviceClass = DeviceClass> {
  readonly device: C;
  readonly config: UseConfig<C>;
}

/** Puts a device into a machine. */
export function use<C extends DeviceClass>(device: C, config?: UseConfig<C>): DeviceUse<C> {
  return { device, config: config ?? ({} as UseConfig<C>) };
}

/** The devices of a machine, by instance id. */
export type DeviceUses = Readonly<Record<string, { readonly device: DeviceClass; readonly config: object }>>;

/** What `defineMachine` takes. */
export interface MachineSpec<D extends DeviceUses = DeviceUses> {
  /** Guest RAM: `'128M'`, or bytes; a multiple of 4 KiB. */
  readonly memory: string | number;
  /** vCPUs, 1 to 16. Default 1. */
  readonly cpus?: number;
  readonly devices: D;
  /** What runs on the vCPUs; several forms of it in order of preference. */
  readonly guest?: Guest | readonly Guest[];
  /** What happens to accesses nobody claims. */
  readonly defaults?: DefaultPolicy;
  /** Modes of interrupt lines that differ from the PC's. */
  readonly interrupts?: Readonly<Record<number, LineMode>>;
}

const MACHINE: unique symbol = Symbol.for('trapline.machine');

/** A machine as data: importing a file that defines one opens nothing. */
export interface Machine<D extends DeviceUses = DeviceUses> extends MachineSpec<D> {
  readonly [MACHINE]: true;
}

/** Defines a machine. Pure: nothing is checked or opened before `start()` or `checkMachine()`. */
export function defineMachine<const D extends DeviceUses>(spec: MachineSpec<D>): Machine<D> {
  return Object.freeze({ ...spec, [MACHINE]: true as const });
}

/** Is this what `defineMachine` makes? */
export function isMachine(value: unknown): value is Machine {
  return typeof value === 'object' && value !== null && MACHINE in value;
}

/** The device instances of a machine, by id. */
export type InstancesOf<D extends DeviceUses> = { readonly [K in keyof D]: InstanceType<D[K]['device']> };
