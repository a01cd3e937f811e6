// The poller of this thread as core's pump sees it.
import type { IoreqGroup } from '@trapline/core';
import type { NativeAddon, NativePoller } from './addon.js';

/** Every native machine of this thread. */
export class NativeGroup implements IoreqGroup {
  private wake: (() => void) | undefined;

  constructor(private readonly poller: NativePoller) {
    poller.onWoken(() => {
      const { wake } = this;
      this.wake = undefined;
      wake?.();
    });
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
    this.wake = wake;
    if (this.poller.arm()) return true;
    this.wake = undefined;
    return false;
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
