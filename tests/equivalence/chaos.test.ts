// Plugins that throw, hang, lie and leave, at random, while every vCPU asks on: no request is lost, and nobody stops.
import {
  type BackendProvider,
  Device,
  type DeviceUses,
  defineMachine,
  type IoHandler,
  type IoreqPage,
  latch,
  Mmio,
  mmio,
  Pio,
  pio,
  SLOT_COUNT,
  STATE,
  simJs,
  start,
  use,
  type Vm,
} from '@trapline/core';
import { kvm, type SimBackend, sim } from '@trapline/native';
import { describe, expect, it } from 'vitest';
import { streamGuests } from './guest.js';
import { Draw, randomStream } from './streams.js';

const CPUS = 2;
const ROUNDS = 40;
/** More than any run makes. */
const ENDLESS = 0x7fff_ffff;

/** Now and then it throws, or returns what is no value. */
@Device({ type: 'chaos-fails', summary: 'fails sooner or later' })
@Pio({ size: 4 })
class Fails implements IoHandler {
  private left = 50;
  read(): number {
    if (--this.left > 0) return this.left;
    return this.left % 2 === 0 ? Number.NaN : (undefined as unknown as number);
  }
  write(): void {
    if (--this.left <= 0) throw new Error('worn out');
  }
}

/** Some of its answers never come. */
@Device({ type: 'chaos-hangs', summary: 'answers late, or never' })
@Pio({ size: 4, defer: true, deadlineMs: 5 })
class Hangs {
  private asked = 0;
  read(): Promise<number> {
    return ++this.asked % 7 === 0 ? new Promise(() => {}) : Promise.resolve(0);
  }
  write(): Promise<void> {
    return ++this.asked % 5 === 0 ? new Promise((resolve) => setTimeout(resolve, 8)) : Promise.resolve();
  }
}

/** What the others must leave alone. */
@Device({ type: 'chaos-sound', summary: 'counts' })
class Sound {
  @Mmio({ size: 16 }) readonly count: IoHandler = { read: () => this.value++ & 0xff, write: () => {} };
  @Mmio({ serve: 'latch' }) readonly cell = latch(4, 0);
  private value = 0;
}

const at = (n: number) => 0xd000_0000 + 0x1000 * n;
const sound = (n: number) => use(Sound, { at: { count: mmio(at(n)), cell: mmio(at(n) + 0x10) } });
const FICKLE: readonly (readonly [string, DeviceUses[string]])[] = [
  ['fails', use(Fails, { at: pio(0x600) })],
  ['hangs', use(Hangs, { at: pio(0x610) })],
  ['fails2', use(Fails, { at: pio(0x620) })],
];

function machineOf(seed: number) {
  const streams = Array.from({ length: CPUS }, (_, n) => ({
    ...randomStream(
      [
        { space: 'mmio', base: at(n), size: 0x14 },
        { space: 'pio', base: 0x600, size: 0x24 },
      ],
      [1, 2, 4],
      500,
      seed + n,
    ),
    count: ENDLESS,
  }));
  return defineMachine({
    memory: '1M',
    cpus: CPUS,
    devices: { sound0: sound(0), sound1: sound(1), ...Object.fromEntries(FICKLE) },
    guest: streamGuests(streams),
    defaults: { report: 'never' },
  });
}

/** What each vCPU's own device has served: nobody else asks it. */
const progress = (vm: Vm) =>
  Array.from({ length: CPUS }, (_, n) =>
    vm
      .counters()
      .filter(({ device }) => device === `sound${n}`)
      .reduce((sum, { reads, writes }) => sum + reads + writes, 0),
  );

async function until(what: () => boolean): Promise<void> {
  while (!what()) await new Promise((resolve) => setTimeout(resolve, 1));
}

/** Waits until every vCPU has gone on. */
async function everyoneGoesOn(vm: Vm): Promise<void> {
  const before = progress(vm);
  await until(() => progress(vm).every((now, n) => now > (before[n] as number)));
}

const inFlight = (page: IoreqPage) =>
  Array.from({ length: SLOT_COUNT }, (_, slot) => page.state(slot)).filter(
    (state) => state === STATE.PENDING || state === STATE.PROCESSING,
  );

/** One thing that happens to a running machine. */
type Mishap = (vm: Vm, draw: Draw) => unknown;
const MISHAPS: readonly Mishap[] = [
  (vm, draw) => {
    const [id] = draw.of(FICKLE);
    if (vm.inspectDevice(id)) return vm.detach(id);
  },
  (vm, draw) => {
    const [id, entry] = draw.of(FICKLE);
    if (!vm.inspectDevice(id)) return vm.attach(id, entry);
  },
  async (vm) => {
    await vm.pause();
    vm.resume();
  },
  (vm) => vm.reset(),
  (vm) => vm.save(),
  (vm, draw) => {
    const stop = vm.traceOn(draw.below(2) === 0 ? {} : { device: 'sound0' }, () => {});
    setTimeout(stop, draw.below(4));
  },
  (vm) => {
    vm.once('device:failed', () => {
      throw new Error('a listener, too');
    });
  },
];

const program = kvm();
const native = sim({ verify: true });
const backends: { name: string; provider: BackendProvider; runs: boolean }[] = [
  { name: 'sim-js', provider: simJs(), runs: true },
  { name: 'addon: sim', provider: native, runs: (await native.probe()).available },
  {
    name: 'addon: sim with completion polling',
    provider: sim({ verify: true, completionPolling: true }),
    runs: (await native.probe()).available,
  },
  { name: 'kvm: a real CPU', provider: program, runs: (await program.probe()).available },
];

for (const { name, provider, runs } of backends) {
  describe.skipIf(!runs)(`${name} in chaos`, () => {
    it.each([1, 2, 3])('loses no request and stops no vCPU, seed %i', async (seed) => {
      const draw = new Draw(seed);
      await using vm = await start(machineOf(seed), { backend: provider });
      for (let round = 0; round < ROUNDS; round++) {
        await draw.of(MISHAPS)(vm as unknown as Vm, draw);
        if (round % 4 === 0) await everyoneGoesOn(vm as unknown as Vm);
      }
      await everyoneGoesOn(vm as unknown as Vm);
      // Quiet: reset lets everything in flight come to its end first.
      await vm.pause();
      await vm.reset();
      const { page } = vm.backend.ioreq as { page: IoreqPage };
      expect(inFlight(page)).toEqual([]);
      if (vm.backend.name === 'sim') expect((vm.backend as SimBackend).violations().lines).toEqual([]);
    });

    it('can be closed at any moment', async () => {
      const draw = new Draw(99);
      for (let n = 0; n < 10; n++) {
        const vm = await start(machineOf(n + 1), { backend: provider });
        await new Promise((resolve) => setTimeout(resolve, draw.below(6)));
        const mishap = Promise.resolve(draw.of(MISHAPS)(vm as unknown as Vm, draw)).catch(() => {});
        await vm.close();
        await mishap;
        expect(vm.state).toBe('closed');
      }
    });
  });
}
