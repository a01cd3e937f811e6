import { type AccessStream, hex, mixRead, STATE, type StreamAccess, StreamCursor, WORD } from '@trapline/core';
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
      ({ address }) => ({ 16: 0x1_23, 18: 0xbeef_cafe })[address] ?? 0xdead_beef,
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

  it('draws the same random accesses as the cursor in TypeScript', async () => {
    const accesses = Array.from({ length: 100 }, (_, i) => write(MMIO + 4 * i, i));
    const { vm, backend } = await machine([{ accesses, order: 'random', seed: 0x8000_0001, count: 500 }]);
    backend.run();
    await vm.wait();
    const cursor = new StreamCursor(100, true, 0x8000_0001);
    expect(vm.accesses.map((a) => a.value)).toEqual(Array.from({ length: 500 }, () => cursor.next()));
  });

  it('mixes every value read into a checksum, and shows progress while it runs', async () => {
    let n = 0;
    const { vm, backend } = await machine([{ accesses: [read(MMIO), write(MMIO, 1), read(MMIO, 2)], count: 300 }], () =>
      Math.imul(++n, 0x9e37_79b1),
    );
    backend.run();
    await vm.seen(10);
    expect(backend.progress(0).accesses).toBeGreaterThanOrEqual(9);
    await vm.wait();
    let checksum = 0;
    for (let i = 1; i <= 300; i++) {
      if (i % 3 === 2) continue;
      checksum = mixRead(checksum, i % 3 === 0 ? Math.imul(i, 0x9e37_79b1) & 0xffff : Math.imul(i, 0x9e37_79b1), 0);
    }
    expect(backend.progress(0)).toMatchObject({ accesses: 300, checksum });
    expect(() => backend.progress(1)).toThrow(expect.objectContaining({ code: 'TL_USAGE' }));
  });

  it('waits between two accesses, and can be paused meanwhile', async () => {
    const { vm, backend } = await machine([{ accesses: [write(MMIO, 1)], count: 3, gapMicroseconds: 10_000_000 }]);
    backend.run();
    await vm.seen(1);
    await delay(5);
    await backend.pause();
    await backend.reset();
    backend.run();
    await vm.seen(2);
    expect(vm.accesses).toHaveLength(2);
    const short = await machine([{ accesses: [write(MMIO, 1)], count: 3, gapMicroseconds: 3000 }]);
    const start = performance.now();
    short.backend.run();
    await short.vm.wait();
    expect(performance.now() - start).toBeGreaterThan(6);
  });

  it('runs 16 vCPUs at a time, and halts when the last stream has ended', async () => {
    const streams = Array.from({ length: 16 }, (_, i) => ({ accesses: [write(MMIO + i * 4, i)], count: 50 + i }));
    const { vm, backend } = await machine(streams);
    backend.run();
    await vm.wait();
    for (let i = 0; i < 16; i++) {
      expect(vm.accesses.filter((a) => a.slot === i).map((a) => a.value)).toEqual(Array(50 + i).fill(i));
    }
    expect(backend.violations().lines).toEqual([]);
  });

  it('makes no access with a vCPU that has no stream', async () => {
    const { vm, backend } = await machine([{ accesses: [write(MMIO, 7)] }], () => 0, {}, 4);
    backend.run();
    expect((await vm.wait()).reason).toBe('halted');
    expect(vm.accesses).toHaveLength(1);
    expect(backend.progress(3).accesses).toBe(0);
  });

  it('measures how long accesses take, when asked', async () => {
    const { vm, backend } = await machine([{ accesses: [read(MMIO)], count: 400 }], () => 0);
    backend.run();
    await vm.wait();
    expect(backend.latency(0).count).toBe(0);
    backend.recordLatency(true);
    await backend.pause();
    await backend.reset();
    const started = performance.now();
    backend.run();
    while (backend.progress(0).accesses < 400) await delay(1);
    const all = (performance.now() - started) * 1e6;
    const { count, p50, p90, p99, max } = backend.latency(0);
    expect(count).toBe(400);
    expect(p50).toBeGreaterThan(100);
    expect(p90).toBeGreaterThanOrEqual(p50);
    expect(p99).toBeGreaterThanOrEqual(p90);
    expect(max).toBeGreaterThanOrEqual(p99);
    // Half of them took at least that long, one after the other; a bucket is 3 % wide.
    expect(p50 * 200 * 0.95).toBeLessThan(all);
    backend.resetLatency();
    expect(backend.latency(0)).toEqual({ count: 0, p50: 0, p90: 0, p99: 0, max: 0 });
  });

  it('records interrupts and MSIs', async () => {
    const { backend } = await machine([]);
    backend.setIrqLine(255, true);
    backend.setIrqLine(3, false);
    backend.signalMsi(0xfee0_1000, 0x41);
    expect([...backend.lines]).toEqual([
      [255, true],
      [3, false],
    ]);
    expect(backend.takeMsis()).toEqual([{ address: 0xfee0_1000, data: 0x41 }]);
    expect(backend.takeMsis()).toEqual([]);
  });
});

describe.skipIf(!native.addon)('addon: sim: ranges served natively', () => {
  it('serves a latch and rings a doorbell on the vCPU thread, and the page shows it', async () => {
    const accesses = [write(MMIO, 0x55), read(MMIO), write(MMIO + 8, 7), read(MMIO + 0x10)];
    const { vm, backend } = await machine([{ accesses }], () => 1);
    const route = { space: 'mmio', size: 4, widths: 4, match: undefined } as const;
    const latch = backend.ioreq.route({ ...route, service: 'latch', base: MMIO, value: 1 });
    const bell = backend.ioreq.route({ ...route, service: 'doorbell', base: MMIO + 8, value: 0 });
    backend.run();
    await vm.wait();
    expect(vm.accesses.map((a) => a.address)).toEqual([MMIO + 0x10]);
    expect(latch?.value).toBe(0x55);
    expect(latch?.counters).toEqual({ reads: 1, writes: 1, bytesRead: 4, bytesWritten: 4 });
    expect(bell?.takeKick()).toBe(7);
    expect(backend.progress(0).checksum).toBe(mixRead(mixRead(0, 0x55, 0), 1, 0));
    // Three claims by the kernel's client, one by us.
    expect(backend.ioreq.generation(0)).toBe(4);
    expect(backend.violations().lines).toEqual([]);
  });

  it('marks them kernel_handled', async () => {
    const { vm, backend } = await machine([{ accesses: [read(0x40, 1, 'pio')] }]);
    backend.ioreq.route({
      service: 'constant',
      space: 'pio',
      base: 0x40,
      size: 1,
      widths: 1,
      value: 9,
      match: undefined,
    });
    backend.run();
    await vm.wait();
    const { i32 } = backend.ioreq.page;
    expect([i32[WORD.kernelHandled], i32[WORD.state], i32[WORD.addressLow]]).toEqual([1, STATE.FREE, 0x40]);
    expect(backend.progress(0).lastLow).toBe(9);
  });
});

describe.skipIf(!native.addon)('addon: sim: run, pause, reset, close', () => {
  const endless = (address = MMIO): AccessStream => ({ accesses: [read(address)], count: ENDLESS });

  it.each([false, true])('stops and continues all vCPUs (completionPolling: %s)', async (completionPolling) => {
    const { vm, backend } = await machine([endless(), endless(), endless()], () => 0, { completionPolling });
    const made = () => [0, 1, 2].map((i) => backend.progress(i).accesses);
    for (let round = 0; round < 5; round++) {
      const before = made();
      backend.run();
      await until(() => made().every((now, i) => now > (before[i] as number)));
      await backend.pause();
      // A request that was in flight is still answered.
      await delay(5);
      const stopped = made();
      await delay(5);
      expect(made()).toEqual(stopped);
    }
    expect(backend.violations().lines).toEqual([]);
    expect(vm.stoppedBy).toBeUndefined();
  });

  it('leaves a request in flight valid', async () => {
    const { vm, backend } = await machine([{ accesses: [read(MMIO), write(MMIO, 'last')] }], (a) =>
      a.write ? 0 : undefined,
    );
    backend.run();
    await vm.seen(1);
    await backend.pause();
    const [first] = vm.accesses;
    expect(first && vm.answer(first, 0x42)).toBe(true);
    await delay(10);
    expect(vm.accesses).toHaveLength(1);
    backend.run();
    await vm.seen(2);
    expect(vm.accesses[1]?.value).toBe(0x42);
  });

  it('bears any order of run and pause', async () => {
    const { backend } = await machine([endless(), endless()]);
    await backend.pause();
    backend.run();
    backend.run();
    await Promise.all([backend.pause(), backend.pause()]);
    backend.run();
    const superseded = backend.pause();
    backend.run();
    await superseded;
    await backend.pause();
    await backend.pause();
  });

  it('starts streams again after a reset, gives up requests in flight, and revives what had ended', async () => {
    let answers = false;
    const accesses = [read(MMIO), write(MMIO, 'last')];
    const { vm, backend } = await machine([{ accesses }, { accesses: [write(MMIO + 4, 5)] }], (a) =>
      answers || a.write ? 0x33 : undefined,
    );
    backend.run();
    await vm.seen(2);
    await backend.pause();
    const kept = vm.accesses.find((a) => !a.write);
    await backend.reset();
    expect(kept && vm.answer(kept, 0x42)).toBe(false);
    expect(backend.progress(0)).toEqual({ accesses: 0, checksum: 0, lastLow: 0, lastHigh: 0 });
    answers = true;
    backend.run();
    expect((await vm.wait()).reason).toBe('halted');
    expect(vm.accesses.filter((a) => a.slot === 0 && a.write).map((a) => a.value)).toEqual([0x33]);
    expect(vm.accesses.filter((a) => a.slot === 1)).toHaveLength(2);
    await backend.pause();
    await backend.reset();
    backend.run();
    await until(() => backend.progress(0).accesses === 2 && backend.progress(1).accesses === 1);
    expect(backend.violations().lines).toEqual([]);
  });

  it('can be reset again and again, also while a vCPU takes the answer it was paused with', async () => {
    const { vm, backend } = await machine([endless()], () => undefined);
    for (let n = 1; n <= 200; n++) {
      backend.run();
      await vm.seen(n);
      await backend.pause();
      const [request] = vm.accesses.slice(-1);
      expect(request && vm.answer(request, 0)).toBe(true);
      await backend.reset();
      await backend.reset();
    }
    expect(backend.violations().lines).toEqual([]);
  });

  it('refuses to reset what runs', async () => {
    const { backend } = await machine([endless()]);
    backend.run();
    await expect(backend.reset()).rejects.toMatchObject({ code: 'TL_VM_STATE' });
  });

  it('closes with requests in flight: they complete with all ones', async () => {
    const { vm, backend } = await machine([endless(), endless()], () => undefined);
    backend.run();
    await vm.seen(2);
    await vm.close();
    expect(vm.answer(vm.accesses[0] as never, 1)).toBe(false);
    for (const i of [0, 1]) expect(backend.progress(i)).toMatchObject({ accesses: 1, lastLow: 0xffff_ffff });
    expect(backend.ioreq.page.i32.length).toBe(0);
    await vm.close();
    expect(() => backend.run()).toThrow(expect.objectContaining({ code: 'TL_VM_CLOSED' }));
    await expect(backend.reset()).rejects.toMatchObject({ code: 'TL_VM_CLOSED' });
    await backend.pause();
  });

  it('closes at any moment', async () => {
    for (let n = 0; n < 60; n++) {
      const { vm, backend } = await machine([endless(), endless()], () => 0, { completionPolling: n % 2 === 0 });
      backend.run();
      const end = performance.now() + n / 30;
      while (performance.now() < end) await new Promise((resolve) => setImmediate(resolve));
      await vm.close();
      expect(backend.violations().lines).toEqual([]);
    }
  });

  it('leaves nothing behind in 100 lives', async () => {
    const life = async (n: number) => {
      const { vm, backend } = await machine([endless(), endless()], () => (n % 3 === 0 ? undefined : 0));
      backend.run();
      await vm.seen(1);
      if (n % 5 === 0) await backend.pause();
      await vm.close();
    };
    await life(0);
    const before = hostHoldings();
    for (let n = 0; n < 100; n++) await life(n);
    expect(hostHoldings()).toEqual(before);
  });

  it('refuses what it cannot do, before anything is opened', async () => {
    const config = { cpus: 1, memory: 2 ** 20, guest: undefined, log: undefined as never };
    const capability = { code: 'TL_BACKEND_CAPABILITY' };
    const provider = sim();
    await expect(provider.open({ ...config, cpus: 17 })).rejects.toMatchObject(capability);
    await expect(provider.open({ ...config, memory: 2 ** 40 })).rejects.toMatchObject(capability);
    await expect(provider.open({ ...config, memory: 5000 })).rejects.toMatchObject({ code: 'TL_MEMORY_SIZE' });
    const script = { kind: 'script', script: () => undefined } as const;
    await expect(provider.open({ ...config, guest: script })).rejects.toMatchObject(capability);
    const guest = { kind: 'stream', streams: [{ accesses: [read(0, 3)] }] } as const;
    await expect(provider.open({ ...config, guest })).rejects.toMatchObject({ code: 'TL_ACCESS_INVALID' });
  });
});
