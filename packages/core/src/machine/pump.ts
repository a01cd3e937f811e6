// One pump per JavaScript thread serves every machine whose backend has a request page: each in
// turn, for a bounded time, then the event loop gets its turn; with nothing to do it sleeps until a
// backend wakes it.
import { type IoreqGroup, type IoreqSource, TAKEN } from '../backend/backend.js';
import { hostTime } from './clock.js';

/** One machine as the pump sees it. */
export interface Pumped {
  readonly source: IoreqSource;
  serve(claimed: number): void;
  /** Doorbells that the backend serves were rung. */
  kicked(): void;
  /** Its source threw: it is out of the pump, the other machines go on. */
  failed(thrown: unknown): void;
}

/** Longest time the event loop is kept waiting, in µs. */
const TURN_MICROSECONDS = 2000;

type Globals = { readonly setImmediate?: (run: () => void) => unknown };

/** A group of one, for a source that has none: it does not spin. */
class LoneSource implements IoreqGroup {
  private ends = 0;
  constructor(private readonly source: IoreqSource) {}
  beginTurn(microseconds: number): void {
    this.ends = hostTime.now() + microseconds / 1000;
  }
  take(): number {
    const claimed = this.source.take();
    return claimed !== 0 && hostTime.now() >= this.ends ? claimed | TAKEN.turnOver : claimed;
  }
  wait(): number {
    return this.take();
  }
  arm(wake: () => void): boolean {
    return this.source.arm(wake);
  }
}

/** A group and its machines, by their number in it. */
class Lane {
  readonly machines: (Pumped | undefined)[] = [];
  constructor(readonly group: IoreqGroup) {}
  add(machine: Pumped): void {
    this.machines[machine.source.number ?? 0] = machine;
  }
  remove(machine: Pumped): void {
    const number = machine.source.number ?? 0;
    if (this.machines[number] === machine) this.machines[number] = undefined;
  }
  get empty(): boolean {
    return this.machines.every((machine) => machine === undefined);
  }
}

class Pump {
  private lanes: readonly Lane[] = [];
  private scheduled = false;
  private turnOver = false;

  /** Ends the turn after this request: what was just begun goes on when the event loop does. */
  endTurn(): void {
    this.turnOver = true;
  }

  add(machine: Pumped): void {
    const { source } = machine;
    const known = source.group && this.lanes.find(({ group }) => group === source.group);
    const lane = known ?? new Lane(source.group ?? new LoneSource(source));
    if (!known) this.lanes = [...this.lanes, lane];
    lane.add(machine);
    this.schedule();
  }

  remove(machine: Pumped): void {
    for (const lane of this.lanes) lane.remove(machine);
    this.lanes = this.lanes.filter((lane) => !lane.empty);
  }

  /** Serves what a machine has asked for until now. */
  serveNow(machine: Pumped): void {
    if (!this.lanes.some((lane) => lane.machines.includes(machine))) return;
    try {
      const claimed = machine.source.take();
      if (claimed !== 0) machine.serve(claimed);
    } catch (thrown) {
      this.drop(machine, thrown);
    }
  }

  private schedule(): void {
    if (this.scheduled) return;
    this.scheduled = true;
    const { setImmediate } = globalThis as Globals;
    if (setImmediate) setImmediate(this.next);
    else hostTime.setTimeout(this.next, 0);
  }

  private readonly next = (): void => {
    this.scheduled = false;
    this.turn();
  };
  private readonly woken = (): void => this.schedule();

  private turn(): void {
    const { lanes } = this;
    for (const { group } of lanes) group.beginTurn(TURN_MICROSECONDS);
    // Only a lane that is alone may wait: the others must not.
    const alone = lanes.length === 1;
    this.turnOver = false;
    let worked: boolean;
    do {
      worked = false;
      for (const lane of lanes) {
        if (this.serveLane(lane, alone)) worked = true;
      }
    } while (worked && !this.turnOver && lanes === this.lanes);
    if (worked || lanes !== this.lanes) {
      this.schedule();
      return;
    }
    for (const lane of lanes) this.arm(lane);
  }

  /** Serves requests of a lane: if it is alone, until it has none or the turn is over. @returns had it any? */
  private serveLane(lane: Lane, alone: boolean): boolean {
    const { group, machines } = lane;
    let worked = false;
    let machine: Pumped | undefined;
    try {
      for (;;) {
        machine = undefined;
        const taken = alone ? group.wait() : group.take();
        if (taken === 0) return worked;
        worked = true;
        if ((taken & TAKEN.turnOver) !== 0) this.turnOver = true;
        machine = machines[taken >>> TAKEN.numberShift];
        if (machine !== undefined) {
          if ((taken & TAKEN.kicks) !== 0) machine.kicked();
          if ((taken & TAKEN.slots) !== 0) machine.serve(taken & TAKEN.slots);
        }
        if (this.turnOver || !alone) return true;
      }
    } catch (thrown) {
      // Whose fault it is, if it is a machine's; a group that throws has lost all of its machines.
      for (const lost of machine ? [machine] : lane.machines) if (lost) this.drop(lost, thrown);
      return true;
    }
  }

  private arm(lane: Lane): void {
    try {
      if (!lane.group.arm(this.woken)) this.schedule();
    } catch (thrown) {
      for (const lost of lane.machines) if (lost) this.drop(lost, thrown);
    }
  }

  private drop(machine: Pumped, thrown: unknown): void {
    this.remove(machine);
    machine.failed(thrown);
  }
}

/** The pump of this thread. */
export const pump = new Pump();
