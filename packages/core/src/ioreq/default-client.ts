import type { Space } from '../backend/backend.js';
import { hex, TraplineError } from '../errors.js';
import { RateLimit } from '../log.js';

/** What happens to an access that nobody claims. */
export interface DefaultPolicy {
  /** What a read gives: all ones as on a PC's bus, zeros, or a 32-bit pattern. Default `ones`. */
  readonly value?: 'ones' | 'zeros' | number;
  /** When to report it. `throw` ends the machine: for tests. Default `once` per address. */
  readonly report?: 'always' | 'once' | 'never' | 'throw';
  /** Reports per second that are passed on. Default 20. */
  readonly perSecond?: number;
}

/** An access nobody claims, as reported. */
export interface UnclaimedAccess {
  readonly vcpu: number;
  readonly space: Space;
  readonly direction: 'read' | 'write';
  readonly address: number;
  readonly size: number;
  /** What was written, or what the read gives; low 32 bits, unsigned. */
  readonly value: number;
  /** For a straddle, the client whose range holds the first byte. */
  readonly straddles?: string;
}

/** How often the default client was asked. */
export interface DefaultCounters {
  readonly reads: number;
  readonly writes: number;
  /** Of those, accesses that begin in a range and leave it. */
  readonly straddles: number;
  /** Reports held back by the rate limit. */
  readonly suppressed: number;
}

/** Addresses remembered for `once`; a guest that scans must not grow the host's memory. */
const MOST_REMEMBERED = 4096;

/** The catch-all. */
export class DefaultClient {
  reads = 0;
  writes = 0;
  straddles = 0;
  private readonly fill: number;
  private readonly when: NonNullable<DefaultPolicy['report']>;
  private readonly limit: RateLimit;
  private readonly seen = new Set<string>();

  constructor(
    policy: DefaultPolicy,
    now: () => number,
    private readonly report: (access: UnclaimedAccess) => void,
    private readonly fatal: (error: TraplineError) => void,
  ) {
    const { value = 'ones', report: when = 'once', perSecond = 20 } = policy;
    this.fill = value === 'ones' ? -1 : value === 'zeros' ? 0 : value | 0;
    this.when = when;
    this.limit = new RateLimit(perSecond, 1000, now);
  }

  /** @returns the int32 every 32-bit half of a read gives */
  serve(
    vcpu: number,
    space: Space,
    write: boolean,
    address: number,
    size: number,
    value: number,
    straddles?: string,
  ): number {
    if (write) this.writes++;
    else this.reads++;
    if (straddles !== undefined) this.straddles++;
    if (this.when !== 'never') this.tell(vcpu, space, write, address, size, write ? value : this.fill, straddles);
    return this.fill;
  }

  get counters(): DefaultCounters {
    return { reads: this.reads, writes: this.writes, straddles: this.straddles, suppressed: this.limit.suppressed };
  }

  private tell(
    vcpu: number,
    space: Space,
    write: boolean,
    address: number,
    size: number,
    value: number,
    straddles: string | undefined,
  ): void {
    if (this.when === 'once') {
      const key = `${space}${address}`;
      if (this.seen.has(key) || this.seen.size >= MOST_REMEMBERED) return;
      this.seen.add(key);
    }
    const direction = write ? 'write' : 'read';
    if (this.when === 'throw') {
      const what = `nobody claims the ${direction} of ${size} at ${space} ${hex(address)}`;
      this.fatal(
        new TraplineError('TL_ACCESS_INVALID', what, {
          who: 'default client',
          fix: 'add a device there, or set defaults.report',
        }),
      );
      return;
    }
    if (!this.limit.allow()) return;
    const masked = size >= 4 ? value >>> 0 : value & (2 ** (8 * size) - 1);
    this.report({
      vcpu,
      space,
      direction,
      address,
      size,
      value: masked,
      ...(straddles === undefined ? {} : { straddles }),
    });
  }
}
