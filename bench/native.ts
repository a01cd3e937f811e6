// The native path: vCPU threads of the simulated hypervisor, whose requests are served by TypeScript devices through
// the pump, against the same requests on the same page served by C++ handlers on the same thread.
import { availableParallelism } from 'node:os';
import {
  type AccessStream,
  Device,
  defineMachine,
  type IoHandler,
  Mmio,
  mmio,
  type StreamAccess,
  start,
  use,
  type Vm,
} from '@trapline/core';
import { loadNative, type SimBackend, type SimOptions, type SimRange, sim } from '@trapline/native';
import { accessStream, BASE, benchClass, CELL, CLASS_COUNT } from './devices.js';
import { collections } from './garbage.js';
import { notApplicable, quantile, type Row, round } from './harness.js';

const ROUNDS = 9;
const CELLS = 64;
const REQUESTS = 50_000;
const ENDLESS = Number.MAX_SAFE_INTEGER;
/** The baseline has two turns a round; where it differs from itself by more, the machine was too busy to judge. */
const MOST_DRIFT = 0.2;

/** Why this machine cannot run a row, in a few words. */
function lacking(cores: number): string | undefined {
  if (!loadNative().addon) return 'no native addon';
  return availableParallelism() < cores ? `needs ${cores} cores` : undefined;
}

/** How this machine spins, for the details of a row. */
function setting(vcpus: number): string {
  const cores = availableParallelism();
  return `${cores} cores, ${cores > vcpus ? 'spin 50 to 200 us' : 'spin 0'}`;
}

interface Opened {
  readonly vm: Vm;
  readonly backend: SimBackend;
  readonly ranges: readonly SimRange[];
}

/** A machine of `classes` device classes on the simulated hypervisor, paused; each vCPU runs the stream without end. */
async function open(
  classes: number,
  options: { readonly vcpus?: number; readonly gapMicroseconds?: number; readonly sim?: SimOptions } = {},
): Promise<Opened> {
  const { vcpus = 1, gapMicroseconds = 0 } = options;
  const addresses = accessStream(4096, classes, CELLS);
  const accesses = Array.from(addresses, (address, i): StreamAccess => {
    const access = { space: 'mmio', address, size: 4 } as const;
    return (i & 1) === 1 ? { ...access, direction: 'write', value: i & 0xff } : { ...access, direction: 'read' };
  });
  const stream: AccessStream = { accesses, count: ENDLESS, gapMicroseconds };
  const devices = Object.fromEntries(
    Array.from({ length: classes }, (_, i) => [`d${i}`, use(benchClass(i, 1, CELLS))]),
  );
  let backend: SimBackend | undefined;
  const vm = await start(
    defineMachine({
      memory: '64K',
      cpus: vcpus,
      devices,
      guest: { kind: 'stream', streams: Array.from({ length: vcpus }, () => stream) },
    }),
    { backend: sim({ verify: false, latency: true, onOpen: (opened) => (backend = opened), ...options.sim }) },
  );
  await vm.pause();
  const size = CELLS * CELL;
  const ranges = Array.from({ length: classes }, (_, i): SimRange => ({ space: 'mmio', base: BASE + i * size, size }));
  return { vm, backend: backend as SimBackend, ranges };
}

const delay = (ms: number) => new Promise<void>((resolve) => setTimeout(resolve, ms));

/** Quantiles of what the vCPU saw, in ns. */
interface Seen {
  readonly p50: number;
  readonly p99: number;
}

/** Requests served by the devices in TypeScript, through the pump. */
async function byPlugins({ backend }: Opened, requests: number): Promise<Seen> {
  const until = backend.progress(0).accesses + requests;
  backend.resetLatency();
  backend.run();
  // Seldom where it takes long: looking makes garbage of its own.
  const every = requests > 100_000 ? 50 : 2;
  while (backend.progress(0).accesses < until) await delay(every);
  await backend.pause();
  return backend.latency(0);
}

/** The same by C++ handlers. */
async function natively({ backend, ranges }: Opened, classes: number, requests: number, sleeps = false): Promise<Seen> {
  backend.resetLatency();
  backend.run();
  backend.serveNatively(requests, classes, ranges, { sleeps });
  const seen = backend.latency(0);
  await backend.pause();
  return seen;
}

/** One row for each quantile: rounds of baseline, subject, baseline. */
async function compareSeen(
  names: Readonly<Record<'p50' | 'p99', { readonly name: string; readonly bar: number } | undefined>>,
  baseline: () => Promise<Seen>,
  subject: () => Promise<Seen>,
  detail: string,
): Promise<Row[]> {
  const rounds: { readonly before: Seen; readonly subject: Seen; readonly after: Seen }[] = [];
  for (let i = 0; i < 3; i++) {
    await baseline();
    await subject();
  }
  for (let i = 0; i < ROUNDS; i++) {
    rounds.push({ before: await baseline(), subject: await subject(), after: await baseline() });
  }
  return (['p50', 'p99'] as const).flatMap((which): Row[] => {
    const row = names[which];
    if (!row) return [];
    const own = rounds.map(({ before, after }) => (before[which] + after[which]) / 2);
    const ratios = rounds.map((one, i) => one.subject[which] / (own[i] as number));
    const drift = quantile(
      rounds.map(({ before, after }, i) => Math.abs(before[which] - after[which]) / (own[i] as number)),
      0.5,
    );
    const ratio = quantile(ratios, 0.5);
    const figures = `C++ ${quantile(own, 0.5).toFixed(0)} ns, TypeScript ${quantile(
      rounds.map((one) => one.subject[which]),
      0.5,
    ).toFixed(0)} ns`;
    return [
      {
        ...row,
        ratio: round(ratio),
        verdict: drift > MOST_DRIFT ? 'NOISY' : ratio <= row.bar ? 'ok' : 'MISSED',
        p10: round(quantile(ratios, 0.1)),
        p90: round(quantile(ratios, 0.9)),
        rounds: ROUNDS,
        unit: 'ratio',
        detail: `${which}: ${figures}; the baseline beside itself ${(100 * drift).toFixed(0)} %; ${detail}`,
      },
    ];
  });
}

/** A request from the vCPU's store of PENDING to its seeing COMPLETE. */
export async function roundtripRows(): Promise<Row[]> {
  const bars = [
    { classes: 1, p50: 1.3, p99: 1.6 },
    { classes: CLASS_COUNT, p50: 1.6, p99: 1.6 },
  ];
  const rows: Row[] = [];
  for (const { classes, ...bar } of bars) {
    const p50 = { name: `ioreq-roundtrip-${classes}`, bar: bar.p50 };
    const p99 = { name: `ioreq-roundtrip-${classes}-p99`, bar: bar.p99 };
    const missing = lacking(2);
    if (missing) {
      rows.push(...[p50, p99].map(({ name, bar: limit }) => notApplicable(name, limit, missing)));
      continue;
    }
    const opened = await open(classes);
    const baseline = () => natively(opened, classes, REQUESTS);
    const subject = () => byPlugins(opened, REQUESTS);
    rows.push(...(await compareSeen({ p50, p99 }, baseline, subject, setting(1))));
    await opened.vm.close();
  }
  return rows;
}

/** Requests 100 us apart, to a server that sleeps between them; a vCPU that spins for its answer. */
export async function wakeRow(): Promise<Row | Row[]> {
  const row = { name: 'wake-from-sleep', bar: 1.4 };
  const missing = lacking(2);
  if (missing) return notApplicable(row.name, row.bar, missing);
  const opened = await open(1, { gapMicroseconds: 100 });
  const { addon } = loadNative();
  addon?.poller.fixSpin(0);
  try {
    const baseline = () => natively(opened, 1, 1000, true);
    const subject = () => byPlugins(opened, 1000);
    const detail = `${availableParallelism()} cores, spin 0, gaps of 100 us`;
    return await compareSeen({ p50: row, p99: undefined }, baseline, subject, detail);
  } finally {
    addon?.poller.fixSpin();
    await opened.vm.close();
  }
}

/** What an idle machine costs: CPU time of the process over wall time, in percent. */
export async function idleRow(): Promise<Row> {
  const missing = lacking(1);
  if (missing) return notApplicable('idle-cpu', 1, missing);
  const opened = await open(1, { gapMicroseconds: 1e9 });
  opened.backend.run();
  await delay(100);
  const shares: number[] = [];
  for (let i = 0; i < 7; i++) {
    const before = process.cpuUsage();
    const started = process.hrtime.bigint();
    await delay(300);
    const { user, system } = process.cpuUsage(before);
    shares.push((100 * (user + system) * 1000) / Number(process.hrtime.bigint() - started));
  }
  await opened.vm.close();
  const share = quantile(shares, 0.5);
  return {
    name: 'idle-cpu',
    ratio: round(share),
    bar: 1,
    verdict: share <= 1 ? 'ok' : 'MISSED',
    p10: round(quantile(shares, 0.1)),
    p90: round(quantile(shares, 0.9)),
    rounds: shares.length,
    unit: '%',
    detail: `a running machine that asks for nothing; ${setting(1)}`,
  };
}

/** How late a 1 ms timer is, p99 in ms over a second. */
async function lateness(): Promise<number> {
  const late: number[] = [];
  const end = performance.now() + 1000;
  for (let now = performance.now(); now < end; ) {
    await delay(1);
    const next = performance.now();
    late.push(Math.max(0, next - now - 1));
    now = next;
  }
  return quantile(late, 0.99);
}

/** A 1 ms timer while four vCPUs ask without a pause, against the same timer with no load. */
export async function fairnessRow(): Promise<Row> {
  const missing = lacking(1);
  if (missing) return notApplicable('fairness', 5, missing);
  const opened = await open(1, { vcpus: 4 });
  const added: number[] = [];
  const quiet: number[] = [];
  for (let i = 0; i < 7; i++) {
    const without = await lateness();
    opened.backend.run();
    const loaded = await lateness();
    await opened.backend.pause();
    quiet.push(without);
    added.push(loaded - without);
  }
  await opened.vm.close();
  const most = quantile(added, 0.5);
  return {
    name: 'fairness',
    ratio: round(most),
    bar: 5,
    verdict: most <= 5 ? 'ok' : 'MISSED',
    p10: round(quantile(added, 0.1)),
    p90: round(quantile(added, 0.9)),
    rounds: added.length,
    unit: 'ms',
    detail: `p99 lateness of a 1 ms timer beyond ${quantile(quiet, 0.5).toFixed(2)} ms without load, while 4 vCPUs hammer; ${setting(4)}`,
  };
}

/** Throws at its first access. */
@Device({ type: 'bench-wedged', summary: 'a plugin that throws' })
class Wedged implements IoHandler {
  read(): number {
    throw new Error('wedged');
  }
  write(): void {
    throw new Error('wedged');
  }
}
Mmio({ size: CELLS * CELL })(Wedged);

/** Three machines beside one whose plugin throws, against the three alone: p50 of what their vCPUs see. */
export async function wedgedRow(): Promise<Row | Row[]> {
  const row = { name: 'four-vms-one-wedged', bar: 1.2 };
  const missing = lacking(1);
  if (missing) return notApplicable(row.name, row.bar, missing);
  const gapMicroseconds = 200;
  const three = await Promise.all([1, 2, 3].map(() => open(1, { gapMicroseconds })));
  let fourth: SimBackend | undefined;
  const accesses: StreamAccess[] = [{ space: 'mmio', direction: 'read', address: BASE, size: 4 }];
  const wedged = await start(
    defineMachine({
      memory: '64K',
      devices: { bad: use(Wedged, { at: mmio(BASE) }) },
      guest: { kind: 'stream', streams: [{ accesses, count: ENDLESS, gapMicroseconds }] },
    }),
    { backend: sim({ verify: false, onOpen: (backend) => (fourth = backend) }) },
  );
  await wedged.pause();
  const run = async (withFourth: boolean): Promise<Seen> => {
    for (const { backend } of three) {
      backend.resetLatency();
      backend.run();
    }
    if (withFourth) fourth?.run();
    await delay(400);
    await Promise.all([...three.map(({ backend }) => backend.pause()), withFourth ? fourth?.pause() : undefined]);
    const all = three.map(({ backend }) => backend.latency(0));
    return {
      p50: quantile(
        all.map(({ p50 }) => p50),
        0.5,
      ),
      p99: Math.max(...all.map(({ p99 }) => p99)),
    };
  };
  const rows = await compareSeen(
    { p50: row, p99: undefined },
    () => run(false),
    () => run(true),
    `"C++" is three machines alone, "TypeScript" the same beside a fourth whose plugin throws; ${setting(4)}`,
  );
  await Promise.all([...three.map(({ vm }) => vm.close()), wedged.close()]);
  return rows;
}

/**
 * Collections, and heap that is kept, while ten million requests go from vCPU threads through page, pump and dispatcher;
 * every address and value below 2^31.
 */
export async function nativeGarbageRow(): Promise<Row> {
  const row = { name: 'garbage-native', bar: 0 };
  const missing = lacking(1);
  if (missing) return notApplicable(row.name, row.bar, missing);
  const opened = await open(CLASS_COUNT);
  const requests = 10_000_000;
  await byPlugins(opened, 500_000);
  const counts: number[] = [];
  const kept: number[] = [];
  for (let i = 0; i < 7; i++) {
    const before = process.memoryUsage().heapUsed;
    counts.push(await collections(() => byPlugins(opened, requests / 7)));
    kept.push((process.memoryUsage().heapUsed - before) / 1024);
  }
  await opened.vm.close();
  const most = Math.max(...counts);
  return {
    ...row,
    ratio: most,
    verdict: most === 0 ? 'ok' : 'MISSED',
    p10: quantile(counts, 0.1),
    p90: quantile(counts, 0.9),
    rounds: counts.length,
    unit: 'collections',
    detail: `most in a seventh of ten million requests over ${CLASS_COUNT} classes; heap moved by ${quantile(kept, 0.5).toFixed(0)} KiB a round in the median; ${setting(1)}`,
  };
}
