// The poller of this thread as core's pump sees it.
import type { IoreqGroup } from '@trapline/core';
import type { NativeAddon, NativePoller } from './addon.js';

/** Every native machine of this thread. */
export class NativeGroup implements IoreqGroup {
  /** One for the pump of the thread; more only where somebody looks at its machines one by one. */
  private readonly wakes = new Set<() => void>();

  constructor(private readonly poller: NativePoller) {
    poller.onWoken(() => this.wakeAll());
  }

  beginTurn(microseconds: number): void {
    this.poller.beginTurn(microseconds);
  }
  take(): number {
    return this.poller.take();
  }
  wait(): number {
    return this.poller.wait();
  }
  arm(wake: () => void): boolean {
    // First: the wake-up may be on its way from the moment the flag is set. What was announced may have been taken
    // meanwhile: a wake-up too many finds nothing and arms again.
    this.wakes.add(wake);
    if (this.poller.arm()) return true;
    // What is there may be for somebody who armed before.
    this.wakes.delete(wake);
    this.wakeAll();
    return false;
  }

  private wakeAll(): void {
    // Each may arm again at once.
    const armed = [...this.wakes];
    this.wakes.clear();
    for (const wake of armed) wake();
  }
}

const groups = new WeakMap<NativePoller, NativeGroup>();

/** The group of an addon's poller: one for each thread. */
export function groupOf(addon: NativeAddon): NativeGroup {
  const { poller } = addon;
  const known = groups.get(poller);
  if (known) return known;
  const made = new NativeGroup(poller);
  groups.set(poller, made);
  return made;
}
