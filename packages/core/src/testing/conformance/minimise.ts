import type { Case, Place, Step } from './steps.js';

/**
 * Makes a counterexample smaller than random shrinking leaves it: drops steps one by one, and
 * simplifies what the rest carry, until nothing more can go.
 *
 * @param registers places that have a name: they read better than others
 */
export function minimise(found: Case, breaks: (c: Case) => boolean, registers: readonly Place[]): Case {
  let best = found;
  // Ends by itself, since every accepted case is simpler; bounded all the same.
  for (let rounds = 0; rounds < 20; rounds++) {
    const simpler = firstThatBreaks(best, breaks, registers);
    if (!simpler) return best;
    best = simpler;
  }
  return best;
}

function firstThatBreaks(c: Case, breaks: (c: Case) => boolean, registers: readonly Place[]): Case | undefined {
  let best: Case | undefined;
  const attempt = (next: Case): boolean => {
    if (!breaks(next)) return false;
    best = next;
    return true;
  };
  for (const part of ['before', 'after'] as const) {
    for (let i = c[part].length - 1; i >= 0; i--) {
      const now = best ?? c;
      attempt({ ...now, [part]: now[part].filter((_, at) => at !== i) });
    }
    for (let i = 0; i < (best ?? c)[part].length; i++) {
      const step = (best ?? c)[part][i] as Step;
      for (const simpler of simplerSteps(step, registers)) {
        const now = best ?? c;
        if (attempt({ ...now, [part]: now[part].map((old, at) => (at === i ? simpler : old)) })) break;
      }
    }
  }
  for (let i = 0; i < c.numbers.length; i++) {
    for (const simpler of simplerNumbers((best ?? c).numbers[i] as number)) {
      const now = best ?? c;
      if (attempt({ ...now, numbers: now.numbers.map((old, at) => (at === i ? simpler : old)) })) break;
    }
  }
  return best;
}

function simplerSteps(step: Step, registers: readonly Place[]): Step[] {
  if ('offset' in step) {
    const named = inRegister(step, registers).map(({ offset, size }): Step => ({ ...step, offset, size }));
    return 'value' in step ? [...named, ...simplerNumbers(step.value).map((value) => ({ ...step, value }))] : named;
  }
  if (step.kind === 'advance') return [1, 10, 100, 1000].filter((ms) => ms < step.ms).map((ms) => ({ ...step, ms }));
  return [];
}

/** The registers an access touches that is none itself. */
function inRegister(step: Step & Place, registers: readonly Place[]): Place[] {
  if (step.kind === 'direct-read' || step.kind === 'direct-write') return [];
  const here = registers.filter(({ region }) => region === step.region);
  if (here.some(({ offset, size }) => offset === step.offset && size === step.size)) return [];
  return here.filter(({ offset, size }) => offset < step.offset + step.size && step.offset < offset + size);
}

/** Zero, one, and the number with one of its bits cleared. */
function simplerNumbers(value: number): number[] {
  const candidates = [0, 1];
  for (let bit = 31; bit >= 0; bit--) {
    if (Math.floor(value / 2 ** bit) % 2 === 1) candidates.push(value - 2 ** bit);
  }
  return [...new Set(candidates)].filter((candidate) => candidate < value);
}
