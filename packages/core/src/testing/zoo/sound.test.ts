// No false alarm: devices that are right pass, however long they are looked at.
//   RUNS=5000 SEED=7 npx vitest run sound
import { describe, expect, it } from 'vitest';
import { type DeviceClass, mmio } from '../../index.js';
import { type ConformanceSettings, checkDevice, describeDevice, type OptionsOrMaker } from '../index.js';
import * as correct from './correct.js';
import { GoodDisk, GoodSerial, memoryDisk, type Wire, wire } from './correct-host.js';

const { GoodTimer } = correct;
const runs = Number(process.env.RUNS ?? 200);
const seed = Number(process.env.SEED ?? 1);

const devices: readonly [string, DeviceClass][] = Object.entries<unknown>(correct).filter(
  (entry): entry is [string, DeviceClass] => typeof entry[1] === 'function',
);
const special: Readonly<Record<string, ConformanceSettings>> = {
  GoodByHand: { layouts: { '': correct.BY_HAND } },
};

/** Guest memory a DMA device finds. */
const PATTERN = Uint8Array.from({ length: 4096 }, (_, i) => i * 7);

function passes<C extends DeviceClass>(device: C, options?: OptionsOrMaker<C>, settings?: ConformanceSettings<C>) {
  expect(checkDevice(device, options, { runs, seed, ...settings })).toEqual([]);
}

describe('a correct device passes', () => {
  for (const [name, device] of devices) it(name, () => passes(device, {}, special[name]), 120_000);

  it('wherever it is placed', () => {
    passes(GoodTimer, { at: mmio(0x9000_0000, { stride: 8 }) });
    passes(GoodTimer, { at: mmio(0x9000_0000, { endian: 'big' }) });
    passes(GoodTimer, { at: mmio(0x12_0000_0000) });
    passes(correct.GoodBanks, { at: mmio(0x9000_0000, { stride: 4 }) });
    passes(correct.GoodCmos, { at: mmio(0x9000_0000, { stride: 16 }) });
  }, 120_000);

  it('with guest memory that was filled before', () => {
    passes(correct.GoodDma, {}, { runs: Math.min(runs, 60), arrange: (t) => t.memory.write(0, PATTERN) });
  }, 120_000);

  it('with a host resource that keeps what the guest wrote', () => {
    passes(GoodDisk, { disk: memoryDisk() });
    passes(GoodDisk, () => ({ disk: memoryDisk() }));
  }, 120_000);

  it('with bytes that arrive by themselves', () => {
    const type = (byte: number) => (t: { readonly opened: Readonly<Record<string, unknown>> }) =>
      (t.opened.line as Wire).type(byte);
    passes(GoodSerial, { line: wire() }, { events: { 'an A arrives': type(0x41), 'a B arrives': type(0x42) } });
  }, 120_000);

  // Ten seconds or so; a machine with other work takes longer.
  it('10,000 runs of each property', () => passes(GoodTimer, { hz: 100 }, { runs: 10_000, seed: 3 }), 240_000);
});

describeDevice(GoodTimer, { hz: 10 });
