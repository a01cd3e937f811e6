import type { DeviceClass } from '../../device/metadata.js';
import { deviceMetadata } from '../../device/metadata.js';
import { TraplineError } from '../../errors.js';
import { checkProperty, type Finding, isWanted, PROPERTIES } from './check.js';
import { Kit, type OptionsOrMaker } from './kit.js';
import type { ConformanceSettings } from './settings.js';

/** The part of a test runner the kit needs; vitest, jest and mocha have it. */
export interface TestRunner {
  describe(name: string, body: () => void): unknown;
  it: ((name: string, body: () => void, timeout?: number) => unknown) & {
    skip(name: string, body?: () => void): unknown;
  };
}

/** Thrown by a test of the kit; its message holds the test to paste. */
export class ConformanceError extends Error {
  override readonly name = 'ConformanceError';
  constructor(readonly finding: Finding) {
    super(messageFor(finding));
    // Where the kit found it is of no use to the author of the device.
    this.stack = `${this.name}: ${this.message}`;
  }
}

/** Milliseconds one property may take: a device that is slow is not wrong. */
const TIMEOUT_MS = 60_000;

// Vitest is an optional peer: whoever only drives devices needs none.
const vitest = (await import('vitest').catch(() => undefined)) as TestRunner | undefined;

/**
 * Registers the conformance kit for a device: one vitest test per property. A test that fails prints
 * the shortest sequence it found as a test to paste next to the device.
 *
 * @param options the device's options, or a function that makes them, where each instance needs its own
 */
export function describeDevice<C extends DeviceClass>(
  device: C,
  options?: OptionsOrMaker<C>,
  settings: ConformanceSettings<C> = {},
): void {
  const { describe, it } = runner();
  const name = deviceMetadata(device)?.type ?? device.name;
  describe(`${name} conforms`, () => {
    let kit: Kit;
    try {
      kit = new Kit(device, options ?? {}, settings as unknown as ConformanceSettings);
    } catch (thrown) {
      it('can be put into a machine', () => {
        throw thrown;
      });
      return;
    }
    for (const region of kit.map.deferred) {
      it.skip(`${region} waits (defer: true): its accesses are not checked`);
    }
    for (const property of PROPERTIES) {
      if (!isWanted(property, settings) || !property.cases(kit)) continue;
      const reason = settings.except?.[property.id];
      if (reason !== undefined) {
        it.skip(`${property.title} (excepted: ${reason})`);
        continue;
      }
      it(
        property.title,
        () => {
          const finding = checkProperty(kit, property);
          if (finding) throw new ConformanceError(finding);
        },
        TIMEOUT_MS,
      );
    }
  });
}

function runner(): TestRunner {
  const found = (globalThis as Partial<TestRunner>).it ? (globalThis as unknown as TestRunner) : vitest;
  if (found) return found;
  throw new TraplineError('TL_USAGE', 'describeDevice found no test runner', {
    who: 'describeDevice',
    fix: 'install vitest, or call checkDevice and look at what it returns',
  });
}

function messageFor(finding: Finding): string {
  const steps = finding.sequence.map((step, i) => `  ${i + 1}. ${step}`).join('\n');
  return `not so: ${finding.title}\n${finding.message}\n${steps}\n\nThe same as a test:\n\n${finding.test}`;
}
