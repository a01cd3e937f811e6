import { type AccessStream, hex, type StreamAccess } from '@trapline/core';
import { afterEach, describe, expect, it } from 'vitest';
import { loadNative } from './addon.js';
import { type SimBackend, type SimOptions, sim } from './sim.js';
import { hostHoldings, type StubHandler, StubMachine } from './testing/stub-machine.js';

const native = loadNative();
const open: StubMachine[] = [];

const read = (address: number, size = 4, space: 'pio' | 'mmio' = 'mmio'): StreamAccess => ({
  space,
  direction: 'read',
  address,
  size,
});
const write = (address: number, value: number | 'last', size = 4, space: 'pio' | 'mmio' = 'mmio'): StreamAccess => ({
  space,
  direction: 'write',
  address,
  size,
  value,
});
const MMIO = 0x1000_0000;
/** For as long as the machine is open. */
const ENDLESS = Number.MAX_SAFE_INTEGER;

/** A machine with one vCPU for each stream, at rest. */
async function machine(
  streams: readonly AccessStream[],
  handler: StubHandler = () => 0,
  options: SimOptions = {},
  cpus = Math.max(1, streams.length),
) {
  const provider = sim(options);
  const config = { cpus, memory: 2 ** 20, guest: { kind: 'stream', streams }, log: undefined as never } as const;
  const backend: SimBackend = await provider.open(config);
  const vm = new StubMachine(backend, handler);
  open.push(vm);
  return { vm, backend };
}

const delay = (ms: number) => new Promise((resolve) => setTimeout(resolve, ms));
/** Until something is so, looked at on every turn of the loop. */
async function until(what: () => boolean) {
  while (!what()) await delay(1);
}

afterEach(async () => {
  for (const vm of open.splice(0)) await vm.close();
});

describe.skipIf(!native.addon)('addon: sim: accesses', () => {
  it.each([false, true])('makes what the stream says, in turn (completionPolling: %s)', async (completionPolling) => {
    const accesses = [
      read(0x10, 1, 'pio'),
      write(0x20, 'last', 1, 'pio'),
      read(0x12, 2, 'pio'),
      write(0x22, 'last', 4, 'pio'),
      read(MMIO, 4),
      write(MMIO + 0x10, 'last', 4),
      write(MMIO + 0x14, 0x1234_5678, 2),
      read(2 ** 40 + 8, 8),
      write(2 ** 40 + 16, 'last', 8),
    ];
    const { vm, backend } = await machine(
      [{ accesses }],
      ({ address }) => ({ 0x10: 0x1_23, 0x12: 0xbeef_cafe })[address] ?? 0xdead_beef,
      { completionPolling },
    );
    backend.run();
    expect((await vm.wait()).reason).toBe('halted');
    expect(vm.accesses.map((a) => [a.space, a.write, a.address, a.size, a.write ? hex(a.value) : undefined])).toEqual([
      ['pio', false, 0x10, 1, undefined],
      ['pio', true, 0x20, 1, '0x23'],
      ['pio', false, 0x12, 2, undefined],
      ['pio', true, 0x22, 4, '0xcafe'],
      ['mmio', false, MMIO, 4, undefined],
      ['mmio', true, MMIO + 0x10, 4, '0xdeadbeef'],
      ['mmio', true, MMIO + 0x14, 2, '0x5678'],
      ['mmio', false, 2 ** 40 + 8, 8, undefined],
      ['mmio', true, 2 ** 40 + 16, 8, '0xdeadbeef'],
    ]);
    expect(backend.violations()).toEqual({ count: 0, lines: [] });
    expect(backend.progress(0)).toMatchObject({ accesses: 9, lastLow: 0xdead_beef, lastHigh: 0 });
  });
});
