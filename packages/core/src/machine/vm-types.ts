import type { ExitReason } from '../backend/backend.js';
import type { TraplineError } from '../errors.js';
import type { UnclaimedAccess } from '../ioreq/default-client.js';
import type { RangeCounters } from '../ioreq/range-set.js';
import type { ResetKind, SavedDevice } from './device-instance.js';

/** `created`: composed, not run yet. `stopped`: the guest ended; the machine still has to be closed. */
export type VmState = 'created' | 'running' | 'paused' | 'stopped' | 'closed';

/** How a machine ended. */
export interface VmExit {
  readonly reason: ExitReason;
  /** The guest's code, for `exit`. */
  readonly code?: number;
  /** The error, for `backend-failed`. */
  readonly error?: TraplineError;
}

/** The events of a machine. A listener that throws is logged and harms nobody. */
export interface VmEvents {
  state: [state: VmState];
  /** A device was attached while the machine lives; it is in service. */
  'device:attached': [change: { readonly device: string }];
  /** A device was detached; its addresses are the default client's. */
  'device:detached': [change: { readonly device: string }];
  'device:failed': [failure: { readonly device: string; readonly error: TraplineError }];
  'access:unclaimed': [access: UnclaimedAccess];
  'access:straddle': [
    straddle: {
      readonly device: string;
      readonly region: string;
      readonly direction: 'read' | 'write';
      readonly address: number;
      readonly size: number;
    },
  ];
  'guest:error': [report: { readonly device: string; readonly message: string }];
  'guest:unimplemented': [report: { readonly device: string; readonly message: string }];
  reset: [kind: ResetKind];
  exit: [exit: VmExit];
}

/** What one range of a device has served. */
export interface DeviceCounters extends RangeCounters {
  readonly device: string;
  readonly region: string;
  readonly space: 'pio' | 'mmio';
  readonly base: number;
  readonly size: number;
}

/** One row of a machine's address map. */
export interface MapRow {
  readonly space: 'pio' | 'mmio';
  readonly first: number;
  readonly last: number;
  readonly device: string;
  readonly region: string;
  readonly type: string;
}

/** A paused machine's state: plain data. */
export interface Snapshot {
  readonly format: 1;
  /** Machine time in ms. */
  readonly time: number;
  readonly devices: Readonly<Record<string, SavedDevice>>;
  /** Guest memory that is not zero, where the backend supports snapshots. */
  readonly memory?: readonly { readonly address: number; readonly bytes: Uint8Array }[];
}
