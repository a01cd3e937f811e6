import type fc from 'fast-check';
import type { Kit } from './kit.js';
import type { PropertyId } from './settings.js';
import type { Case, Op } from './steps.js';
import type { Mismatch } from './twins.js';

/** How a case breaks a property. */
export interface Violation {
  /** One sentence for the author of the device. */
  readonly message: string;
  /** What was done. */
  readonly ops: readonly Op[];
  /** Names of the instances in the printed test; the second only where there are two. */
  readonly names: readonly [a: string, b?: string];
  /** What the printed test expects at the end. */
  readonly expectation: Expectation;
}

/** What a printed test checks after its steps. */
export type Expectation =
  | { readonly kind: 'twins'; readonly mismatch: Mismatch }
  /** The last step throws. */
  | { readonly kind: 'no-failure' }
  /** The last step, a read, gives `value` under `mask`. */
  | { readonly kind: 'reads'; readonly mask: number; readonly value: number }
  /** The last step, a read, gives what a peek just before it gives. */
  | { readonly kind: 'reads-as-peeked' };

/** Something every correct device has. */
export interface Property {
  readonly id: PropertyId;
  /** Title of its test. */
  readonly title: string;
  /** Random cases, or undefined where the device has nothing this is about. */
  cases(kit: Kit): fc.Arbitrary<Case> | undefined;
  /** Tries one case on new instances. */
  violation(kit: Kit, c: Case): Violation | undefined;
}
