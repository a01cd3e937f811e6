import { type ErrorCode, TraplineError } from '../errors.js';
import { nearest } from '../nearest.js';

/**
 * Refuses a misspelt key of a declaration. The compiler does too, but nobody compiles a machine that is just run,
 * and a register whose `acess` is ignored is one the guest may write.
 */
export function knownKeys(given: object, known: readonly string[], who: string, code: ErrorCode = 'TL_LAYOUT'): void {
  for (const key of Object.keys(given)) {
    if (known.includes(key)) continue;
    const meant = nearest(key, known);
    const fix = `${meant ? `did you mean ${meant}? ` : ''}it may have: ${known.join(', ')}`;
    throw new TraplineError(code, `has the unknown key ${key}`, { who, fix });
  }
}
