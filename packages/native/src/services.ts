// Ranges that vCPU threads serve themselves, seen from JavaScript: see service_table.h.
import type { NativeRoute, RouteHandle } from '@trapline/core';
import type { NativeMachine } from './addon.js';

const KINDS = ['constant', 'latch', 'doorbell'] as const;

/** `struct ServiceRecord`, in 32-bit words. */
const RECORD_WORDS = 16;
const RECORD = { cell: 0, reads: 2, writes: 4, bytesRead: 6, bytesWritten: 8 } as const;

/** The services of one machine. */
export class NativeServices {
  private readonly words: Uint32Array;

  constructor(private readonly machine: NativeMachine) {
    this.words = new Uint32Array(machine.services);
  }

  /** @returns undefined if there is no room: the range is served in JavaScript then */
  add(route: NativeRoute): RouteHandle | undefined {
    const { service, space, base, size, widths, value, match } = route;
    const kind = KINDS.indexOf(service);
    const number = this.machine.addService({ kind, mmio: space === 'mmio', base, size, widths, value, match });
    return number < 0 ? undefined : new Handle(this.machine, this.words, number);
  }
}

class Handle implements RouteHandle {
  private readonly at: number;

  constructor(
    private readonly machine: NativeMachine,
    private readonly words: Uint32Array,
    private readonly number: number,
  ) {
    this.at = number * RECORD_WORDS;
  }

  get value(): number {
    return Atomics.load(this.words, this.at + RECORD.cell);
  }
  set value(value: number) {
    Atomics.store(this.words, this.at + RECORD.cell, value);
  }

  takeKick(): number {
    return this.machine.takeKick(this.number);
  }

  get counters(): RouteHandle['counters'] {
    const count = (index: number) => {
      const at = this.at + index;
      return (this.words[at] as number) + (this.words[at + 1] as number) * 2 ** 32;
    };
    return {
      reads: count(RECORD.reads),
      writes: count(RECORD.writes),
      bytesRead: count(RECORD.bytesRead),
      bytesWritten: count(RECORD.bytesWritten),
    };
  }

  remove(): void {
    this.machine.removeService(this.number);
  }
}
