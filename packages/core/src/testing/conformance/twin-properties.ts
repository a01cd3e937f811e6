// Properties of the form "this makes no difference": two instances, one of which it happens to.

import fc from 'fast-check';
import type { StepMix } from './arbitraries.js';
import { caseArbitrary, directArbitrary, peekArbitrary, straddleArbitrary } from './arbitraries.js';
import type { Kit } from './kit.js';
import type { Property, Violation } from './property.js';
import { DEFAULT_STEPS, type PropertyId } from './settings.js';
import type { Case, Step } from './steps.js';
import { type Mismatch, Twins } from './twins.js';

/** Cases of a kit's device with the settings' length. */
export function casesOf(kit: Kit, mix: Omit<StepMix, 'before'>): fc.Arbitrary<Case> {
  const { steps = DEFAULT_STEPS, events = {} } = kit.settings;
  return caseArbitrary(kit.map, Object.keys(events), { before: steps, ...mix });
}

/** A violation, if the two instances disagree. @param whats what to call them in the message */
export function disagreement(
  twins: Twins,
  names: readonly [string, string],
  whats: readonly [string, string],
): Violation | undefined {
  const { mismatch } = twins;
  if (!mismatch) return undefined;
  const [a, b] = whats;
  return {
    message: `${subjectOf(mismatch)}: ${mismatch.a} ${a}, ${mismatch.b} ${b}`,
    ops: twins.ops,
    names,
    expectation: { kind: 'twins', mismatch },
  };
}

function subjectOf(mismatch: Mismatch): string {
  if (mismatch.kind === 'line') return `line ${mismatch.line}`;
  if (mismatch.kind === 'state') return `state ${mismatch.path}`;
  if (mismatch.kind === 'memory') return `guest memory at 0x${mismatch.address.toString(16)}`;
  if (mismatch.kind === 'peek') return `a peek of ${mismatch.row}`;
  if (mismatch.kind === 'msis') return 'the MSIs sent';
  return mismatch.kind === 'failure' ? 'the device' : 'the value read';
}

interface Noise {
  readonly id: PropertyId;
  readonly title: string;
  readonly names: readonly [string, string];
  readonly whats: readonly [string, string];
  /** Steps that must make no difference; they happen to the first instance only. */
  markers(kit: Kit): fc.Arbitrary<Step> | undefined;
  isMarker(kit: Kit, step: Step): boolean;
}

function noise(spec: Noise): Property {
  return {
    id: spec.id,
    title: spec.title,
    cases(kit) {
      const markers = spec.markers(kit);
      if (!markers) return undefined;
      // One at least, wherever the rest of the sequence leaves room for it.
      return fc
        .tuple(casesOf(kit, { after: 0, markers, resets: true }), markers, fc.nat(DEFAULT_STEPS))
        .map(([c, marker, at]) => ({ ...c, before: [...c.before.slice(0, at), marker, ...c.before.slice(at)] }));
    },
    violation(kit, { before }) {
      if (!before.some((step) => spec.isMarker(kit, step))) return undefined;
      const twins = new Twins(kit);
      for (const step of before) {
        if (spec.isMarker(kit, step)) twins.onlyA(step);
        else twins.both(step);
      }
      twins.end();
      return disagreement(twins, spec.names, spec.whats);
    },
  };
}

export const deterministic: Property = {
  id: 'deterministic',
  title: 'two devices that see the same do the same',
  cases: (kit) => casesOf(kit, { after: 0, resets: true }),
  violation(kit, { before }) {
    const twins = new Twins(kit);
    for (const step of before) twins.both(step);
    twins.end();
    return disagreement(twins, ['one', 'other'], ['in one', 'in the other']);
  },
};

export const saveRestore: Property = noise({
  id: 'save-restore',
  title: 'a restored device goes on like the saved one',
  names: ['restored', 'original'],
  whats: ['after save and restore', 'without'],
  markers: () => fc.constant({ kind: 'reload' }),
  isMarker: (_kit, step) => step.kind === 'reload',
});

export const peekEffect: Property = noise({
  id: 'peek-effect',
  title: 'peek has no effect',
  names: ['peeked', 'left'],
  whats: ['after a peek', 'without'],
  markers: (kit) => peekArbitrary(kit.map),
  isMarker: (_kit, step) => step.kind === 'peek',
});

export const straddles: Property = noise({
  id: 'straddles',
  title: 'an access that leaves its region touches nothing',
  names: ['touched', 'left'],
  whats: ['after it', 'without'],
  markers: (kit) => straddleArbitrary(kit.map),
  isMarker(kit, step) {
    if (step.kind !== 'read' && step.kind !== 'write') return false;
    const region = kit.map.regions.find(({ index }) => index === step.region);
    return region !== undefined && step.offset + step.size > region.size;
  },
});

export const outOfRange: Property = noise({
  id: 'out-of-range',
  title: 'a handler ignores offsets that are not its own',
  names: ['touched', 'left'],
  whats: ['after it', 'without'],
  markers(kit) {
    // A handler of a single register never sees an offset but 0, and need not look at it.
    const regions = kit.map.regions.filter(
      ({ kind, deviceSize, smallest }) => kind === 'handler' && deviceSize > smallest,
    );
    return directArbitrary(regions, kit.map);
  },
  isMarker: (_kit, step) => step.kind === 'direct-read' || step.kind === 'direct-write',
});

export const resetState: Property = {
  id: 'reset-state',
  title: 'reset brings every register back',
  cases: (kit) => casesOf(kit, { after: 6 }),
  violation(kit, c) {
    const twins = new Twins(kit, { lines: false, values: true });
    usedAndFresh(twins, c.before);
    // What a host resource keeps, a disk for one, outlives a reset and may be read afterwards.
    if (!kit.map.hasResources) for (const step of c.after) twins.both(step);
    twins.end({ state: true, peeks: !kit.map.hasResources });
    return disagreement(twins, ['used', 'fresh'], ['after use and reset', 'in a fresh device']);
  },
};

export const resetLines: Property = {
  id: 'reset-lines',
  title: 'reset lowers every line, and nothing from before raises one again',
  cases: (kit) =>
    kit.fresh().machine.inside.lines.size > 0 ? casesOf(kit, { after: 3, afterKind: 'time' }) : undefined,
  violation(kit, { before, after }) {
    const twins = new Twins(kit, { lines: true, values: false });
    usedAndFresh(twins, before);
    for (const step of after) twins.both(step);
    twins.end({ lines: true });
    return disagreement(twins, ['used', 'fresh'], ['after use and reset', 'in a fresh device']);
  },
};

/** One instance is used, the other waits as long; then both are reset. */
function usedAndFresh(twins: Twins, before: readonly Step[]): void {
  for (const step of before) twins.onlyA(step);
  if (twins.a.now > twins.b.now) twins.onlyB({ kind: 'advance', ms: twins.a.now - twins.b.now });
  twins.align();
  twins.both({ kind: 'reset' });
}

export const resetTwice: Property = {
  id: 'reset-twice',
  title: 'a second reset changes nothing',
  cases: (kit) => casesOf(kit, { after: 4 }),
  violation(kit, { before, after }) {
    const twins = new Twins(kit);
    for (const step of before) twins.both(step);
    twins.both({ kind: 'reset' });
    twins.onlyA({ kind: 'reset' });
    for (const step of after) twins.both(step);
    twins.end();
    return disagreement(twins, ['twice', 'once'], ['after two resets', 'after one']);
  },
};
