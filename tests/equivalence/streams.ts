// Streams that touch everything a machine has, in every width, the same on every run.
import type { AccessStream, StreamAccess } from '@trapline/core';
import type { Stretch } from './devices.js';

/** A small generator of our own: the streams must not change with a library. */
export class Draw {
  constructor(private state: number) {}
  below(limit: number): number {
    this.state = (Math.imul(this.state, 1664525) + 1013904223) >>> 0;
    return Math.floor((this.state / 2 ** 32) * limit);
  }
  of<T>(list: readonly T[]): T {
    return list[this.below(list.length)] as T;
  }
}

/**
 * `length` accesses over the stretches, of `sizes` bytes, aligned or not. None crosses a page: an access across one
 * is two on a real CPU.
 */
export function randomStream(
  stretches: readonly Stretch[],
  sizes: readonly number[],
  length: number,
  seed: number,
): AccessStream {
  const draw = new Draw(seed);
  const accesses = Array.from({ length }, (): StreamAccess => {
    const { space, base, size: stretch } = draw.of(stretches);
    const size = draw.of(space === 'pio' ? sizes.filter((bytes) => bytes <= 4) : sizes);
    const address = base + draw.below(stretch);
    if (draw.below(2) === 0) return { space, direction: 'read', address, size };
    const value = draw.below(4) === 0 ? ('last' as const) : draw.below(2 ** Math.min(32, 8 * size));
    return { space, direction: 'write', address, size, value };
  });
  return { accesses };
}
