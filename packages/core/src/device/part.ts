// A device is made of parts: register blocks and state. The framework finds them, gives them what
// they need of the machine, and saves, restores and resets them; the device writes none of that.

import type { Log } from '../log.js';
import type { Clock } from './tokens.js';

/** What the framework gives a device's parts. */
export interface PartContext {
  readonly log: Log;
  readonly clock: Clock;
  /** Runs a timer's callback as the device: an error in it costs the device, not the machine. */
  guard(what: string, run: () => void): void;
}

/** Something in a device the framework saves, restores and resets. */
export interface DevicePart {
  readonly kind: 'registers' | 'state';
  readonly slot: PartSlot;
  reset(): void;
  /** Plain data: survives JSON and structured cloning. */
  save(): unknown;
  /** Validates saved data and returns the function that applies it. @throws TraplineError `TL_STATE_INVALID` */
  check(saved: unknown, where: string): () => void;
}

/** Parts made while a device is being constructed, and what they will be given. */
export class Construction {
  readonly parts: { readonly slot: PartSlot }[] = [];
  constructor(readonly context: PartContext) {}

  /** Runs a constructor; every part made meanwhile belongs to this device. */
  run<T>(construct: () => T): T {
    const outer = Construction.current;
    Construction.current = this;
    try {
      return construct();
    } finally {
      Construction.current = outer;
    }
  }

  static current: Construction | undefined;
}

/** Where a part keeps what the machine gave it; empty for a device constructed by hand. */
export class PartSlot {
  private readonly context: PartContext | undefined;

  constructor() {
    this.context = Construction.current?.context;
    Construction.current?.parts.push({ slot: this });
  }

  get log(): Log | undefined {
    return this.context?.log;
  }
  get clock(): Clock | undefined {
    return this.context?.clock;
  }
  guard(what: string, run: () => void): void {
    if (this.context) this.context.guard(what, run);
    else run();
  }
}
