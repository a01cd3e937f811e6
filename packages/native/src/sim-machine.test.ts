// Whole machines on the simulated hypervisor, through `start()`, beside the same machines on sim-js.
import { spawnSync } from 'node:child_process';
import { fileURLToPath } from 'node:url';
import {
  type AccessStream,
  type BackendProvider,
  constant,
  Device,
  defineMachine,
  Mmio,
  Pio,
  SimJs,
  type StreamAccess,
  type StreamGuest,
  type StreamProgress,
  simJs,
  start,
  use,
} from '@trapline/core';
import { describe, expect, it } from 'vitest';
import { loadNative } from './addon.js';
import { type SimBackend, type SimOptions, sim } from './sim.js';

const native = loadNative();
const VCPUS = 16;
const REGISTERS = 8;

/** Registers for each vCPU, so that what one reads depends on its own accesses alone. */
@Device({ type: 'banks', summary: 'a bank of registers for each vCPU' })
class Banks {
  readonly values = Array.from({ length: VCPUS * REGISTERS }, (_, i) => Math.imul(i + 1, 0x9e37_79b1) >>> 0);
  @Mmio({ base: 0xd000_0000, size: VCPUS * REGISTERS * 4 }) readonly mem = this.bank(4);
  @Pio({ base: 0x1000, size: VCPUS * REGISTERS }) readonly ports = this.bank(1);
  /** Answers on a later turn of the loop. */
  @Mmio({ base: 0xd100_0000, size: VCPUS * 4, defer: true, concurrent: true }) readonly late = {
    read: async (offset: number) => {
      await new Promise((resolve) => setImmediate(resolve));
      return (this.values[(offset >> 2) * REGISTERS] as number) ^ 1;
    },
    write: async () => {},
  };
  @Mmio({ base: 0xd200_0000, serve: 'constant' }) readonly version = constant(4, 0x1111_2222);

  private bank(stride: number) {
    const index = (offset: number) => Math.floor(offset / stride);
    return {
      read: (offset: number, size: number) => ((this.values[index(offset)] as number) % 2 ** (8 * size)) >>> 0,
      write: (offset: number, size: number, value: number) => {
        this.values[index(offset)] = (Math.imul(this.values[index(offset)] as number, 31) + value + size) >>> 0;
      },
    };
  }
}

function streamOf(vcpu: number, count: number): AccessStream {
  const accesses: StreamAccess[] = [];
  for (let i = 0; i < REGISTERS; i++) {
    const mem = 0xd000_0000 + (vcpu * REGISTERS + i) * 4;
    const port = 0x1000 + vcpu * REGISTERS + i;
    accesses.push({ space: 'mmio', direction: 'read', address: mem, size: [1, 2, 4][i % 3] as number });
    accesses.push({ space: 'mmio', direction: 'write', address: mem, size: 4, value: 'last' });
    accesses.push({ space: 'pio', direction: 'read', address: port, size: 1 });
    accesses.push({ space: 'pio', direction: 'write', address: port, size: 1, value: i * 37 });
  }
  accesses.push({ space: 'mmio', direction: 'read', address: 0xd100_0000 + vcpu * 4, size: 4 });
  accesses.push({ space: 'mmio', direction: 'read', address: 0xd200_0000, size: 4 });
  // Nobody is there.
  accesses.push({ space: 'mmio', direction: 'read', address: 0xd300_0000, size: 2 });
  return { accesses, order: 'random', seed: vcpu + 1, count };
}

const guest = (count: number): StreamGuest => ({
  kind: 'stream',
  streams: Array.from({ length: VCPUS }, (_, vcpu) => streamOf(vcpu, count)),
});

const machine = (count: number) =>
  defineMachine({
    memory: '1M',
    cpus: VCPUS,
    devices: { banks: use(Banks) },
    defaults: { report: 'never' },
    guest: guest(count),
  });

async function onSimJs(count: number): Promise<StreamProgress[]> {
  let opened: SimJs | undefined;
  const backend: BackendProvider = {
    ...simJs(),
    open: async (config) => {
      opened = new SimJs(config);
      return opened;
    },
  };
  const vm = await start(machine(count), { backend });
  await vm.wait();
  await vm.close();
  return (opened as SimJs).cpus.map((cpu) => cpu.progress);
}

async function onSim(count: number, options: SimOptions = {}) {
  let backend: SimBackend | undefined;
  const onOpen = (opened: SimBackend) => {
    backend = opened;
  };
  const vm = await start(machine(count), { backend: sim({ ...options, onOpen }) });
  return { vm, backend: backend as unknown as SimBackend };
}

describe.skipIf(!native.addon)('addon: sim: a machine', () => {
  it.each<SimOptions>([{}, { completionPolling: true }, { verify: false }, { waitSpinMicroseconds: 0 }])(
    'reads with 16 vCPUs at a time what sim-js reads, and breaks no rule (%o)',
    async (options) => {
      const expected = await onSimJs(500);
      expect(expected.every(({ accesses }) => accesses === 500)).toBe(true);
      expect(new Set(expected.map(({ checksum }) => checksum)).size).toBe(VCPUS);
      const { vm, backend } = await onSim(500, options);
      expect(await vm.wait()).toEqual({ reason: 'halted' });
      await vm.close();
      expect(Array.from({ length: VCPUS }, (_, vcpu) => backend.progress(vcpu))).toEqual(expected);
      expect(backend.violations()).toEqual({ count: 0, lines: [] });
    },
  );

  it('is paused, reset and closed under way without a broken rule', async () => {
    for (let n = 0; n < 8; n++) {
      const { vm, backend } = await onSim(Number.MAX_SAFE_INTEGER, { completionPolling: n % 2 === 1 });
      while (backend.progress(0).accesses < 20) await new Promise((resolve) => setTimeout(resolve, 1));
      await vm.pause();
      await vm.resume();
      await vm.reset();
      while (backend.progress(15).accesses < 20) await new Promise((resolve) => setTimeout(resolve, 1));
      await vm.close();
      expect(backend.violations()).toEqual({ count: 0, lines: [] });
    }
  });

  it('has no device where RAM is, which does not trap', async () => {
    @Device({ type: 'low', summary: 'a register below 16 MiB' })
    class Low {
      @Mmio({ base: 0x80_0000, size: 4 }) readonly register = { read: () => 1, write: () => {} };
    }
    const accesses: StreamAccess[] = [{ space: 'mmio', direction: 'read', address: 0x80_0000, size: 4 }];
    const run = (memory: string) =>
      start(
        defineMachine({
          memory,
          devices: { low: use(Low) },
          guest: { kind: 'stream', streams: [{ accesses }] },
          defaults: { report: 'never' },
        }),
        { backend: sim() },
      );
    await expect(run('16M')).rejects.toThrow(/low: mmio 0x800000-0x800003, but sim traps only 0x1000000-/);
    const vm = await run('8M');
    expect(await vm.wait()).toEqual({ reason: 'halted' });
    await vm.close();
  });
});

describe.skipIf(!native.addon)('addon: sim: the server in C++', () => {
  const ranges = [
    { space: 'mmio', base: 0x1000_0000, size: 0x40 },
    { space: 'pio', base: 0x10, size: 8 },
    { space: 'mmio', base: 0x2000_0000, size: 0x1000 },
  ] as const;

  async function opened(streams: readonly AccessStream[], options: SimOptions = {}) {
    const config = { cpus: streams.length, memory: 2 ** 20, guest: { kind: 'stream', streams } as const };
    const backend = await sim(options).open({ ...config, log: undefined as never });
    const ends: string[] = [];
    backend.connect({
      serve: () => {},
      access: () => 0,
      stopped: (reason) => ends.push(reason),
      resetRequested: () => {},
    });
    return { backend, ends };
  }

  it.each([1, 3, 16])('serves requests by %i classes, counts them, and breaks no rule', async (classes) => {
    const at = (space: 'pio' | 'mmio', direction: 'read' | 'write', address: number, size: number): StreamAccess => ({
      space,
      direction,
      address,
      size,
      value: 0x55,
    });
    const accesses = [
      at('mmio', 'read', 0x1000_0004, 4),
      at('mmio', 'write', 0x1000_003c, 4),
      at('pio', 'write', 0x17, 1),
      at('pio', 'read', 0x14, 2),
      at('mmio', 'read', 0x2000_0ff8, 8),
      // Across an end, and where nothing is.
      at('mmio', 'read', 0x1000_003e, 4),
      at('pio', 'read', 0x17, 2),
      at('mmio', 'write', 0x1000_0040, 1),
    ];
    const { backend } = await opened([
      { accesses, count: 80 },
      { accesses, count: 80 },
    ]);
    backend.run();
    const { served, counters } = backend.serveNatively(1000, classes, ranges);
    expect(served).toBe(160);
    expect(counters).toEqual([
      { reads: 20, writes: 20, bytesRead: 80, bytesWritten: 80 },
      { reads: 20, writes: 20, bytesRead: 40, bytesWritten: 20 },
      { reads: 20, writes: 0, bytesRead: 160, bytesWritten: 0 },
    ]);
    expect(backend.progress(0)).toMatchObject({ accesses: 80, lastLow: 0xffff });
    expect(backend.violations()).toEqual({ count: 0, lines: [] });
    await backend.close();
  });

  it('serves as many as asked for, and leaves the rest to others', async () => {
    const accesses: StreamAccess[] = [{ space: 'mmio', direction: 'read', address: 0x1000_0000, size: 4 }];
    const { backend } = await opened([{ accesses, count: Number.MAX_SAFE_INTEGER }]);
    backend.run();
    expect(backend.serveNatively(100, 1, ranges).served).toBe(100);
    while (backend.ioreq.take() === 0) await new Promise((resolve) => setTimeout(resolve, 1));
    expect(backend.progress(0).accesses).toBe(100);
    await backend.close();
  });

  it('refuses ranges that overlap or leave their space, and classes it does not have', async () => {
    const { backend } = await opened([{ accesses: [] }]);
    const bad = expect.objectContaining({ code: 'TL_BACKEND_FAILED' });
    expect(() => backend.serveNatively(1, 0, ranges)).toThrow(bad);
    expect(() => backend.serveNatively(1, 17, ranges)).toThrow(bad);
    expect(() => backend.serveNatively(1, 1, [...ranges, { space: 'pio', base: 0x17, size: 1 }])).toThrow(bad);
    expect(() => backend.serveNatively(1, 1, [{ space: 'pio', base: 0xffff, size: 2 }])).toThrow(bad);
    expect(() => backend.serveNatively(1, 1, [{ space: 'mmio', base: 0, size: 0 }])).toThrow(bad);
    await backend.close();
  });
});

describe.skipIf(!native.addon)('addon: sim: a process or a thread ends', () => {
  const script = fileURLToPath(new URL('./testing/process.mjs', import.meta.url));
  const run = (how: string) => {
    const { status, signal, stdout, stderr } = spawnSync(process.execPath, [script, how, 'sim'], {
      encoding: 'utf8',
      timeout: 20_000,
    });
    return { status, signal, stdout: stdout.trim(), stderr };
  };
  it.each([
    ['by process.exit with running streams', 'exit', 7, ''],
    ['by itself after close, and not before', 'close', 0, 'still alive'],
    ['by itself once the streams have ended', 'ended', 0, ''],
    ['by an exception out of a wake-up', 'throws', 3, 'caught on purpose'],
    ['by worker.terminate with running streams', 'terminate', 0, 'terminated'],
    ['and a closed machine leaves no memory behind', 'forget', 0, '0 left'],
    ['and memory that was transferred outlives its machine', 'transfer', 0, 'survived'],
    ['by process.exit in a worker, also right after close', 'leave', 0, 'left'],
    ['and a worker serves a machine of its own', 'serve', 0, '3000 served'],
  ])('%s', (_, how, status, stdout) => {
    expect(run(how)).toEqual({ status, signal: null, stderr: '', stdout });
  });
});
