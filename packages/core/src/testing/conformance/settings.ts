import type { Layout } from '../../device/layout.js';
import type { DeviceClass } from '../../device/metadata.js';
import type { Driven } from '../drive.js';

/** How a device is checked. Everything may be left out. */
export interface ConformanceSettings<C extends DeviceClass = DeviceClass> {
  /** Sequences per property. Default 200. */
  readonly runs?: number;
  /** Where the random sequences start. The default is always the same: what passes today passes tomorrow. */
  readonly seed?: number;
  /** Longest sequence. Default 12. */
  readonly steps?: number;
  /** The layout a region written by hand follows, by region (`''` for the class): its access modes are checked too. */
  readonly layouts?: Readonly<Record<string, Layout>>;
  /** Brings a new instance to where the guest finds it: guest memory filled, a disk inserted. */
  readonly arrange?: (t: Driven<C>) => void;
  /** What the outside may do between two accesses, by name: `{ 'a byte arrives': (t) => ... }`. */
  readonly events?: Readonly<Record<string, (t: Driven<C>) => void>>;
  /** Look at these properties only. */
  readonly only?: readonly PropertyId[];
  /** Properties the device is known not to have, each with the reason. */
  readonly except?: Readonly<Partial<Record<PropertyId, string>>>;
  /** For the tests printed: where the class is imported from. Default: a file named as the class. */
  readonly module?: string;
  /** For the tests printed: the options as source, where they are no plain data. */
  readonly optionsSource?: string;
}

/** The properties, by name. */
export type PropertyId =
  | 'never-fails'
  | 'deterministic'
  | 'reset-state'
  | 'reset-lines'
  | 'reset-twice'
  | 'save-restore'
  | 'read-only'
  | 'clear-and-set'
  | 'fixed-bits'
  | 'plain-registers'
  | 'read-widths'
  | 'write-widths'
  | 'wide-accesses'
  | 'straddles'
  | 'out-of-range'
  | 'peek-effect'
  | 'peek-value';

export const DEFAULT_RUNS = 200;
export const DEFAULT_STEPS = 12;
export const DEFAULT_SEED = 0x7261_7054;
