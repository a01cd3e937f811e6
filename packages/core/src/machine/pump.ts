// One pump per JavaScript thread serves every machine whose backend has a request page: each in
// turn, for a bounded time, then the event loop gets its turn; with nothing to do it sleeps until a
// backend wakes it.
import type { IoreqSource } from '../backend/backend.js';
import { hostTime } from './clock.js';

/** One machine as the pump sees it. */
export interface Pumped {
  readonly source: IoreqSource;
  serve(claimed: number): void;
  /** Its source threw: it is out of the pump, the other machines go on. */
  failed(thrown: unknown): void;
}

/** Longest time the event loop is kept waiting, in ms. */
const TURN_MS = 2;

type Globals = { readonly setImmediate?: (run: () => void) => unknown };

class Pump {
  private readonly machines = new Set<Pumped>();
  private scheduled = false;

  add(machine: Pumped): void {
    this.machines.add(machine);
    this.schedule();
  }

  remove(machine: Pumped): void {
    this.machines.delete(machine);
  }

  /** Serves what a machine has asked for until now. */
  serveNow(machine: Pumped): void {
    if (this.machines.has(machine)) this.serve(machine);
  }

  private schedule(): void {
    if (this.scheduled) return;
    this.scheduled = true;
    const { setImmediate } = globalThis as Globals;
    if (setImmediate) setImmediate(() => this.turn());
    else hostTime.setTimeout(() => this.turn(), 0);
  }

  private turn(): void {
    this.scheduled = false;
    const until = hostTime.now() + TURN_MS;
    let worked: boolean;
    do {
      worked = false;
      for (const machine of this.machines) if (this.serve(machine)) worked = true;
    } while (worked && hostTime.now() < until);
    if (worked) this.schedule();
    else for (const machine of this.machines) this.arm(machine);
  }

  private serve(machine: Pumped): boolean {
    return this.guarded(machine, () => {
      const claimed = machine.source.take(0);
      if (claimed !== 0) machine.serve(claimed);
      return claimed !== 0;
    });
  }

  private arm(machine: Pumped): void {
    this.guarded(machine, () => {
      if (!machine.source.arm(() => this.schedule())) this.schedule();
      return true;
    });
  }

  private guarded(machine: Pumped, run: () => boolean): boolean {
    try {
      return run();
    } catch (thrown) {
      this.machines.delete(machine);
      machine.failed(thrown);
      return false;
    }
  }
}

/** The pump of this thread. */
export const pump = new Pump();
