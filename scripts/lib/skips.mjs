import { readFileSync } from 'node:fs';
import { join } from 'node:path';
import { holds } from './conditions.mjs';
import { ROOT } from './paths.mjs';

/**
 * One line of the checked-in list.
 * @typedef {object} AllowedSkip
 * @property {string} test a regular expression on `file > full name`
 * @property {string} reason for people
 * @property {string} when for the check: a condition of lib/conditions.mjs
 */

/** @returns {AllowedSkip[]} */
export function allowedSkips(path = join(ROOT, 'scripts', 'allowed-skips.json')) {
  return JSON.parse(readFileSync(path, 'utf8'));
}

/**
 * Sorts the skipped tests into those with a reason that holds here, and the others.
 * @param {readonly string[]} skipped names such as `tests/kvm.test.ts > kvm > boots`
 * @param {readonly AllowedSkip[]} allowed
 * @param {(when: string) => boolean} [isSo]
 */
export function judgeSkips(skipped, allowed, isSo = holds) {
  const entries = allowed.map((entry) => ({ ...entry, match: new RegExp(entry.test), holds: isSo(entry.when) }));
  /** @type {Map<string, number>} */
  const reasons = new Map();
  /** @type {{ name: string, why: string }[]} */
  const refused = [];
  for (const name of skipped) {
    const matching = entries.filter((entry) => entry.match.test(name));
    const good = matching.find((entry) => entry.holds);
    if (good) reasons.set(good.reason, (reasons.get(good.reason) ?? 0) + 1);
    else if (matching[0]) refused.push({ name, why: `its condition "${matching[0].when}" does not hold here` });
    else refused.push({ name, why: 'it is not in scripts/allowed-skips.json' });
  }
  return { reasons, refused };
}
