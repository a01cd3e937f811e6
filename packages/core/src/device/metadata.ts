// What decorators record about a class. Keys are registered symbols, so that a plugin compiled
// against another copy of core is recognised and refused with both paths.
import type { z } from 'zod';
import type { Space } from '../backend/backend.js';
import type { IoHandler, RegionOptions } from './handler.js';

/** A class whose instances are devices. */
export type DeviceClass<T extends object = object> = new (...args: never[]) => T;

/** Upgrades saved state of an older version of a device. */
export type Migrate = (saved: {
  readonly version: number;
  readonly parts: Readonly<Record<string, unknown>>;
}) => Readonly<Record<string, unknown>>;

/** What `@Device` says about a class. */
export interface DeviceOptions {
  /** Unique name of the device type: `uart16550`. */
  readonly type: string;
  /** One line for `trapline devices`. */
  readonly summary: string;
  /** Interrupt line of the unnamed {@link IrqLine}, if the machine gives none. */
  readonly irq?: number;
  /** Schema of the options; their descriptions become the help. */
  readonly options?: z.ZodObject;
  /** Version of the saved state; 1 if left out. */
  readonly version?: number;
  readonly migrate?: Migrate;
}

/** A region as declared; `member` is undefined for a region on the class. */
export interface RegionDeclaration {
  readonly space: Space;
  readonly member: string | undefined;
  readonly options: RegionOptions;
}

/** A named interrupt line of a constructor parameter. */
export interface IrqDeclaration {
  readonly parameter: number;
  readonly name: string;
  readonly fallback: number | undefined;
}

/** Everything declared about a device class. */
export interface DeviceMetadata extends DeviceOptions {
  readonly className: string;
  /** Where the core that decorated it was loaded from. */
  readonly core: string;
  readonly regions: readonly RegionDeclaration[];
  readonly irqs: readonly IrqDeclaration[];
}

/** Where this copy of core was loaded from. */
export const CORE_PATH: string = import.meta.url;

const DEVICE = Symbol.for('trapline.device');
const REGIONS = Symbol.for('trapline.regions');
const IRQS = Symbol.for('trapline.irqs');

type Carrier = { [DEVICE]?: DeviceMetadata; [REGIONS]?: RegionDeclaration[]; [IRQS]?: IrqDeclaration[] };

/** Own declarations of a class, inherited ones first. */
function collect<T>(target: object, key: typeof REGIONS | typeof IRQS): T[] {
  const chain: T[][] = [];
  for (let at: object | null = target; at && at !== Function.prototype; at = Object.getPrototypeOf(at)) {
    if (Object.hasOwn(at, key)) chain.unshift((at as Carrier)[key] as T[]);
  }
  return chain.flat();
}

function own<T>(target: object, key: typeof REGIONS | typeof IRQS): T[] {
  if (!Object.hasOwn(target, key)) Object.defineProperty(target, key, { value: [], configurable: true });
  return (target as Carrier)[key] as T[];
}

export function declareRegion(target: object, region: RegionDeclaration): void {
  // Decorators of one declaration run bottom up; the user reads them top down.
  own<RegionDeclaration>(target, REGIONS).unshift(region);
}

export function declareIrq(target: object, irq: IrqDeclaration): void {
  own<IrqDeclaration>(target, IRQS).push(irq);
}

export function declareDevice(target: object, metadata: DeviceMetadata): void {
  Object.defineProperty(target, DEVICE, { value: metadata, configurable: true });
}

/** What is declared about a class, or undefined if `@Device` never saw it. Inherited `@Device` does not count. */
export function deviceMetadata(target: object): DeviceMetadata | undefined {
  if (!Object.hasOwn(target, DEVICE)) return undefined;
  const metadata = (target as Carrier)[DEVICE] as DeviceMetadata;
  return { ...metadata, regions: collect(target, REGIONS), irqs: collect(target, IRQS) };
}

/** Type of a handler-shaped value. */
export function isHandler(value: unknown): value is IoHandler {
  const candidate = value as Partial<IoHandler> | null;
  return (
    typeof candidate === 'object' &&
    candidate !== null &&
    typeof candidate.read === 'function' &&
    typeof candidate.write === 'function'
  );
}
