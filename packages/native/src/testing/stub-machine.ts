// The least that can stand where a machine would: a host that serves one backend's page from a function.
import { readdirSync, readFileSync } from 'node:fs';
import {
  type Backend,
  type BackendHost,
  type BackendProvider,
  type ExitReason,
  type IoreqSource,
  SLOT_COUNT,
  SLOT_WORDS,
  type TraplineError,
  WORD,
} from '@trapline/core';

/** One access, as the stub's handler sees it. */
export interface StubAccess {
  readonly slot: number;
  readonly generation: number;
  readonly space: string;
  readonly write: boolean;
  readonly address: number;
  readonly size: number;
  /** Unsigned, for a write; the low 32 bits. */
  readonly value: number;
  readonly valueHigh: number;
}

/** How the guest ended. */
export interface StubStop {
  readonly reason: ExitReason | 'reset';
  readonly error?: TraplineError;
}

/** Answers an access: the value of a read, anything for a write, `undefined` to keep the slot. */
export type StubHandler = (access: StubAccess) => number | undefined;

export class StubMachine implements BackendHost {
  readonly accesses: StubAccess[] = [];
  stoppedBy: StubStop | undefined;
  private readonly stopWaiters: ((stop: StubStop) => void)[] = [];
  private readonly accessWaiters: { readonly count: number; readonly resolve: () => void }[] = [];
  private readonly source: IoreqSource;

  constructor(
    readonly backend: Backend,
    private readonly handler: StubHandler,
  ) {
    this.source = backend.ioreq as IoreqSource;
    backend.connect(this);
    stubs.add(this);
    pumpSoon();
  }

  /** Opens a backend around `code`, placed and entered at 0x1000 in real mode. */
  static async open(
    provider: BackendProvider,
    code: readonly number[],
    handler: StubHandler,
    cpus = 1,
  ): Promise<StubMachine> {
    const backend = await provider.open({
      cpus,
      memory: 2 ** 20,
      guest: { kind: 'flat', address: 0x1000, image: () => Uint8Array.from(code) },
      log: undefined as never,
    });
    return new StubMachine(backend, handler);
  }

  serve(claimed: number): void {
    for (let slot = 0; slot < SLOT_COUNT; slot++) {
      if ((claimed & (1 << slot)) === 0) continue;
      const request = this.source.page.decode(slot);
      const access: StubAccess = {
        slot,
        generation: this.source.generation(slot),
        space: request.type,
        write: request.direction === 'write',
        address: request.address,
        size: request.size,
        value: request.valueLow,
        valueHigh: request.valueHigh,
      };
      this.accesses.push(access);
      const value = this.handler(access);
      if (value !== undefined) this.answer(access, value);
      for (const waiter of this.accessWaiters) if (this.accesses.length >= waiter.count) waiter.resolve();
    }
  }

  /** Completes an access that was kept. @returns what `complete` said */
  answer(access: StubAccess, value: number, valueHigh = 0): boolean {
    const at = access.slot * SLOT_WORDS;
    if (!access.write) {
      this.source.page.u32[at + WORD.valueLow] = value;
      if (access.space === 'mmio') this.source.page.u32[at + WORD.valueHigh] = valueHigh;
    }
    return this.source.complete(access.slot, access.generation);
  }

  access(): number {
    throw new Error('this backend has a page');
  }
  stopped(reason: ExitReason, details: { readonly error?: TraplineError } = {}): void {
    this.end({ reason, error: details.error });
  }
  resetRequested(): void {
    this.end({ reason: 'reset' });
  }

  /** Resolves when the guest has ended. */
  wait(): Promise<StubStop> {
    return this.stoppedBy ? Promise.resolve(this.stoppedBy) : new Promise((resolve) => this.stopWaiters.push(resolve));
  }

  /** Resolves when `count` accesses have been served or kept, in all. */
  seen(count: number): Promise<void> {
    if (this.accesses.length >= count) return Promise.resolve();
    return new Promise((resolve) => this.accessWaiters.push({ count, resolve }));
  }

  async close(): Promise<void> {
    stubs.delete(this);
    await this.backend.close();
  }

  private end(stop: StubStop): void {
    this.stoppedBy = stop;
    for (const resolve of this.stopWaiters.splice(0)) resolve(stop);
  }

  /** Serves what is pending. @returns false if that is nothing */
  pump(): boolean {
    const claimed = this.source.take();
    if (claimed !== 0) this.serve(claimed);
    return claimed !== 0;
  }

  /** Asks for a call once any machine of this thread has a request. */
  arm(wake: () => void): boolean {
    return this.source.arm(wake);
  }
}

// Native machines of a thread are woken together, so one loop serves them all.
const stubs = new Set<StubMachine>();
let scheduled = false;

function pumpAll(): void {
  let busy = false;
  for (const stub of stubs) busy = stub.pump() || busy;
  const [any] = stubs;
  if (any && (busy || !any.arm(pumpAll))) pumpSoon();
}

function pumpSoon(): void {
  if (scheduled) return;
  scheduled = true;
  setImmediate(() => {
    scheduled = false;
    pumpAll();
  });
}

/** What this process holds of the host: to compare before and after. */
export function hostHoldings(): { readonly descriptors: number; readonly threads: number; readonly mappings: number } {
  const maps = readFileSync('/proc/self/maps', 'utf8').split('\n');
  return {
    descriptors: readdirSync('/proc/self/fd').length,
    threads: readdirSync('/proc/self/task').length,
    // Only what the addon maps by name: the heap's own mappings come and go.
    mappings: maps.filter((line) => /trapline-ram|kvm-vcpu|\/dev\/zero/.test(line)).length,
  };
}
