import { wildArbitrary } from './arbitraries.js';
import type { Property } from './property.js';
import { toNext } from './register-properties.js';
import type { Op } from './steps.js';
import { casesOf } from './twin-properties.js';

/** Whatever the guest does, whenever: the device answers with a number that fits, and at once. */
export const neverFails: Property = {
  id: 'never-fails',
  title: 'no access makes the device fail',
  cases: (kit) => casesOf(kit, { after: 0, markers: wildArbitrary(kit.map), resets: true }),
  violation(kit, { before }) {
    const subject = kit.fresh();
    const ops: Op[] = [];
    for (const step of before) {
      const now = step.kind === 'advance' && step.ms < 0 ? toNext(subject) : step;
      ops.push({ a: now });
      subject.do(now);
      if (subject.failure !== undefined || subject.over) break;
    }
    kit.done(subject);
    if (subject.failure === undefined) return undefined;
    return { message: subject.failure, ops, names: ['t'], expectation: { kind: 'no-failure' } };
  },
};
