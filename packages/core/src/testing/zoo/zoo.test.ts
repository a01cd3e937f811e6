// The kit is itself tested: it must catch every fault, by the right property, in at most three steps,
// and print a test that fails with the fault and passes without.
import { describe, expect, it } from 'vitest';
import type { DeviceClass } from '../../index.js';
import { checkDevice, drive, REGION } from '../index.js';
import { ZOO } from './broken.js';

describe('the zoo', () => {
  it('has every fault of the plan', () => {
    expect(ZOO.length).toBeGreaterThanOrEqual(12);
  });

  describe.each(ZOO)('$fault', (animal) => {
    const findings = checkDevice(animal.make(true), {}, { ...animal.settings, only: [animal.property] });
    const finding = findings.find(({ property }) => property === animal.property);

    it(`is caught by ${animal.property}`, () => {
      expect(findings.map(({ property }) => property)).toContain(animal.property);
    });
    it('in at most three steps', () => {
      expect(finding?.sequence.length).toBeLessThanOrEqual(3);
      expect(finding?.sequence.length).toBeGreaterThan(0);
    });
    it('as a test that fails', () => {
      expect(() => run(finding?.test ?? '', animal.make(true))).toThrow();
    });
    it('and passes once it is mended', () => {
      run(finding?.test ?? '', animal.make(false));
      expect(checkDevice(animal.make(false), {}, { ...animal.settings, runs: 50 })).toEqual([]);
    });
  });
});

/** Runs a printed test against a class. Its body is JavaScript; what it imports is given to it. */
function run(source: string, device: DeviceClass): void {
  const body = source.replaceAll(/^import .*$/gm, '');
  const given = { expect, it: (_name: string, test: () => void) => test(), drive, REGION, Animal: device };
  new Function(...Object.keys(given), body)(...Object.values(given));
}
