// No false alarm: devices that are right pass, however long they are looked at.
import { describe, expect, it } from 'vitest';
import type { DeviceClass } from '../../index.js';
import { type ConformanceSettings, checkDevice, describeDevice } from '../index.js';
import * as correct from './correct.js';

const { GoodTimer } = correct;
const devices: readonly [string, DeviceClass][] = Object.entries<unknown>(correct).filter(
  (entry): entry is [string, DeviceClass] => typeof entry[1] === 'function',
);
const settings: Readonly<Record<string, ConformanceSettings>> = {
  GoodByHand: { layouts: { '': correct.BY_HAND } },
};

describe('a correct device passes', () => {
  for (const [name, device] of devices) {
    it(name, () => {
      expect(
        checkDevice(
          device,
          {},
          { runs: Number(process.env.RUNS ?? 200), seed: Number(process.env.SEED ?? 1), ...settings[name] },
        ),
      ).toEqual([]);
    });
  }
  it('10,000 runs', () => {
    expect(checkDevice(GoodTimer, { hz: 100 }, { runs: 10_000, seed: 3 })).toEqual([]);
  }, 60_000);
});

describeDevice(GoodTimer, { hz: 10 });
