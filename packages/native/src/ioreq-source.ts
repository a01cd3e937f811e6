// One native machine's request page, seen from the thread that serves it.
import {
  type IoreqGroup,
  IoreqPage,
  type IoreqSource,
  type NativeRoute,
  type RouteHandle,
  SLOT_COUNT,
  SLOT_WORDS,
  STATE,
  WORD,
} from '@trapline/core';
import type { NativeMachine } from './addon.js';
import { NativeServices } from './services.js';

/** Where `control_block.h` is in the view, in 32-bit words: behind the page. */
const CONTROL = 1024;
const GENERATION = CONTROL;
const ASLEEP = CONTROL + 16;

/** The server's end of the page. Completion needs no call into the addon unless the vCPU sleeps. */
export class NativeSource implements IoreqSource {
  readonly page: IoreqPage;
  readonly number: number;
  private readonly words: Int32Array;
  private readonly services: NativeServices;

  constructor(
    private readonly machine: NativeMachine,
    readonly group: IoreqGroup,
  ) {
    this.page = new IoreqPage(machine.page);
    this.words = new Int32Array(machine.page);
    this.number = machine.number;
    this.services = new NativeServices(machine);
  }

  take(): number {
    return this.machine.take();
  }

  generation(slot: number): number {
    // After close the view is empty.
    return this.words[GENERATION + slot] ?? 0;
  }

  complete(slot: number, generation: number): boolean {
    const { words } = this;
    // After close the view is empty, and nothing equals a generation.
    if (slot >= SLOT_COUNT || words[GENERATION + slot] !== generation) return false;
    const state = slot * SLOT_WORDS + WORD.state;
    if (Atomics.compareExchange(words, state, STATE.PROCESSING, STATE.COMPLETE) !== STATE.PROCESSING) return false;
    // The vCPU raises the flag and then looks at the state, we store the state and then look at the flag.
    if (Atomics.load(words, ASLEEP + slot) !== 0) this.machine.wake(slot);
    return true;
  }

  arm(wake: () => void): boolean {
    return this.group.arm(wake);
  }

  route(route: NativeRoute): RouteHandle | undefined {
    return this.services.add(route);
  }
}
