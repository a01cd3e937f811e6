import type { AddressRange } from '../bus/range.js';
import type { WidthAdapter } from '../bus/width-adapter.js';
import type { AsyncIoHandler } from '../device/handler.js';
import type { ServedRegion } from '../device/service.js';
import type { TraplineError } from '../errors.js';

/** A handler that waits, and what the framework needs to wait with it. */
export interface DeferredService {
  readonly handler: AsyncIoHandler;
  readonly deadlineMs: number;
  readonly concurrent: boolean;
}

/** One range of a client: which addresses, and what serves them. */
export interface ClientRange extends AddressRange {
  readonly client: IoreqClient;
  /** Name of the region in its device, for counters and traces; empty for the device itself. */
  readonly region: string;
  readonly adapter: WidthAdapter;
  /** Set for a region declared with `defer`. */
  readonly deferred?: DeferredService;
  /** Set for a region declared with `serve` that stands where a backend could serve it. */
  readonly served?: ServedRegion;
}

/**
 * A party that owns address ranges: one per device instance. (In the kernel's driver user space has
 * a single client, the default one; these live inside it.)
 */
export class IoreqClient {
  /** Set once the device has failed: from then on it reads all ones and drops writes. */
  failure: TraplineError | undefined;
  /** One of its ranges is served by a handler that may wait: its accesses leave the direct path. */
  defers = false;
  /** Rings its doorbells that were rung natively, before an access of it is served. */
  drain: ((client: IoreqClient) => void) | undefined;
  /** An access of it waits, so that others of it must wait, too. */
  busy = false;

  constructor(
    /** The instance id in the machine. */
    readonly name: string,
    /** The guest did what the device's bus rules forbid. */
    readonly guestError: (message: string) => void = () => {},
  ) {}
}
