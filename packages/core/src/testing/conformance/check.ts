import fc from 'fast-check';
import type { DeviceClass } from '../../device/metadata.js';
import { Kit, type OptionsOrMaker } from './kit.js';
import { minimise } from './minimise.js';
import { neverFails } from './never-fails.js';
import { printSteps, printTest } from './print.js';
import type { Property, Violation } from './property.js';
import {
  clearAndSet,
  fixedBits,
  peekValue,
  plainRegisters,
  readOnly,
  readWidths,
  writeWidths,
} from './register-properties.js';
import { type ConformanceSettings, DEFAULT_RUNS, DEFAULT_SEED, type PropertyId } from './settings.js';
import type { Case } from './steps.js';
import {
  deterministic,
  outOfRange,
  peekEffect,
  resetLines,
  resetState,
  resetTwice,
  saveRestore,
  straddles,
} from './twin-properties.js';
import { wideAccesses } from './wide-accesses.js';

/** Every property, the ones others rest on first. */
export const PROPERTIES: readonly Property[] = [
  neverFails,
  deterministic,
  resetState,
  resetLines,
  resetTwice,
  saveRestore,
  readOnly,
  clearAndSet,
  fixedBits,
  plainRegisters,
  readWidths,
  writeWidths,
  wideAccesses,
  straddles,
  outOfRange,
  peekEffect,
  peekValue,
];

/** A property a device does not have, with the shortest sequence that shows it. */
export interface Finding {
  readonly property: PropertyId;
  /** The property as a sentence. */
  readonly title: string;
  /** What is wrong, in one sentence. */
  readonly message: string;
  /** What was done, step by step. */
  readonly sequence: readonly string[];
  /** A vitest test that shows it: to paste next to the device. */
  readonly test: string;
  /** Gives the same sequences again. */
  readonly seed: number;
}

/**
 * Looks for a sequence of accesses, time and resets that breaks one of the properties every device
 * has. Needs no test runner; {@link describeDevice} is this as vitest tests.
 *
 * @param options the device's options, or a function that makes them, where each instance needs its own
 * @returns nothing for a device that conforms
 * @throws what `drive()` throws, if the device cannot be put into a machine at all
 */
export function checkDevice<C extends DeviceClass>(
  device: C,
  options?: OptionsOrMaker<C>,
  settings: ConformanceSettings<C> = {},
): Finding[] {
  const kit = new Kit(device, options ?? {}, settings as unknown as ConformanceSettings);
  const findings: Finding[] = [];
  for (const property of PROPERTIES) {
    if (settings.except?.[property.id] !== undefined || !isWanted(property, settings)) continue;
    const finding = checkProperty(kit, property);
    if (finding) findings.push(finding);
    // Twins that differ by themselves prove nothing about what was done to one of them.
    if (finding?.property === 'deterministic') break;
  }
  return findings;
}

export function isWanted({ id }: Property, { only }: Pick<ConformanceSettings, 'only'>): boolean {
  return only === undefined || only.includes(id);
}

/** Tries one property. @returns undefined if no sequence broke it, or none applies */
export function checkProperty(kit: Kit, property: Property): Finding | undefined {
  const cases = property.cases(kit);
  if (!cases) return undefined;
  const { runs = DEFAULT_RUNS, seed = DEFAULT_SEED } = kit.settings;
  let violation: Violation | undefined;
  const breaks = (c: Case): boolean => {
    const found = property.violation(kit, c);
    violation = found ?? violation;
    return found !== undefined;
  };
  const result = fc.check(
    fc.property(cases, (c) => !breaks(c)),
    { numRuns: runs, seed },
  );
  if (!result.counterexample) return undefined;
  // What the kit itself throws is its own mistake, or one in `arrange` or `events`.
  if (!violation) throw result.errorInstance;
  const places = kit.map.registers.map(({ region, offset, width }) => ({ region: region.index, offset, size: width }));
  breaks(minimise(result.counterexample[0], breaks, places));
  return {
    property: property.id,
    title: property.title,
    message: violation.message,
    sequence: printSteps(kit, violation.ops),
    test: printTest(kit, property, violation),
    seed,
  };
}
