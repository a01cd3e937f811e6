import { isA } from '../errors.js';

/** Is this a promise where none belongs? Its rejection is heard here: nobody else would, and it would end the process. */
export function isStrayPromise(value: unknown): value is Promise<unknown> {
  if (!isA<Promise<unknown>>(value, Promise)) return false;
  try {
    value.catch(() => {});
  } catch {
    // It has a `catch` of its own; what that throws says no more than that it does not belong here.
  }
  return true;
}
