// What can happen to a device under test, as data: sequences of steps are generated, shrunk and printed.

/** A piece of a region, as a guest addresses it. */
export interface Place {
  /** Index of the region in the device's list. */
  readonly region: number;
  /** Bytes from the region's start, on the bus. */
  readonly offset: number;
  readonly size: number;
}

/** A look at a region: over the bus, past it as a tool does, or at the handler itself. */
export interface ReadStep extends Place {
  readonly kind: 'read' | 'peek' | 'direct-read';
}

/** A write over the bus, or to the handler itself. */
export interface WriteStep extends Place {
  readonly kind: 'write' | 'direct-write';
  readonly value: number;
}

/** One register accessed in parts of `part` bytes, lowest address first. */
export interface PartsStep extends Place {
  readonly kind: 'read-parts' | 'write-parts';
  readonly part: number;
  /** What is written. */
  readonly value: number;
}

/** One thing done to a device under test. */
export type Step =
  | ReadStep
  | WriteStep
  | PartsStep
  /** Machine time goes on; -1 is to the next timer. */
  | { readonly kind: 'advance'; readonly ms: number }
  | { readonly kind: 'reset' }
  /** Saved, and restored into a new instance that takes its place. */
  | { readonly kind: 'reload' }
  /** Something from outside, by the name it has in the settings. */
  | { readonly kind: 'event'; readonly name: string };

/** A case a property looks at: what comes before the point of interest, and what after. */
export interface Case {
  readonly before: readonly Step[];
  readonly after: readonly Step[];
  /** Random numbers the property gives a meaning of its own. */
  readonly numbers: readonly number[];
}

/** Two instances side by side: a step for both, one, or a different one for each. */
export interface Op {
  readonly a?: Step;
  readonly b?: Step;
}
