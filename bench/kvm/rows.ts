// What a device access costs a guest on KVM: with its device in TypeScript and as a natively served latch, against the
// least that is possible (bare.c) and against QEMU's own devices. The guest takes the time itself, of every single
// access; p50 is what its median access cost. On a machine with KVM, a C compiler and, for two of the rows, QEMU:
//
//     npm run bench -- kvm-pio kvm-mmio kvm-latch kvm-vs-qemu
//
// All of them come from one run, in whose rounds the sides take turns; the bare loop has two turns a round, and
// where it differs from itself the row says NOISY. Best on an idle machine with a fixed clock
// (`cpupower frequency-set -g performance`) and without a hypervisor under it. `--quick` makes one small round,
// which shows that everything runs and says nothing about speed: that is NOISY by definition.
import { existsSync } from 'node:fs';
import { availableParallelism } from 'node:os';
import { kvm } from '@trapline/native';
import { notApplicable, quantile, type Row, round } from '../harness.js';
import { type Amount, build, canBuild } from './build.js';
import type { Register } from './report.js';
import { hasQemu, type Run, runBare, runDevices, runLatches, runQemu, SPIN_MICROSECONDS } from './sides.js';

/** The sides of a round. */
interface Round {
  /** The bare loop at the start and the end of the round. */
  readonly bare: readonly [Run, Run];
  readonly devices: Run;
  readonly latches: Run;
  readonly qemu: Run | undefined;
}

interface Comparison {
  readonly name: string;
  readonly register: Register;
  readonly subject: 'devices' | 'latches';
  readonly against: 'bare' | 'qemu';
  readonly bar: number;
}

const COMPARISONS: Readonly<Record<string, readonly Comparison[]>> = {
  'kvm-pio': [{ name: 'kvm-pio', register: 'pio', subject: 'devices', against: 'bare', bar: 1.1 }],
  'kvm-mmio': [{ name: 'kvm-mmio', register: 'mmio', subject: 'devices', against: 'bare', bar: 1.1 }],
  'kvm-latch': [
    { name: 'kvm-latch-pio', register: 'pio', subject: 'latches', against: 'bare', bar: 1.03 },
    { name: 'kvm-latch-mmio', register: 'mmio', subject: 'latches', against: 'bare', bar: 1.03 },
  ],
  'kvm-vs-qemu': [
    { name: 'kvm-vs-qemu-uart', register: 'pio', subject: 'devices', against: 'qemu', bar: 1 },
    { name: 'kvm-vs-qemu-hpet', register: 'mmio', subject: 'devices', against: 'qemu', bar: 1 },
  ],
};

/** Names that {@link kvmRows} knows. */
export type KvmBench = 'kvm-pio' | 'kvm-mmio' | 'kvm-latch' | 'kvm-vs-qemu';

const FULL = { warm: 20_000, count: 20_000, rounds: 9 };
const QUICK = { warm: 20, count: 100, rounds: 1 };

/** The rows of one benchmark; the measurement is made once for all of them. */
export async function kvmRows(bench: KvmBench, options: { readonly quick: boolean }): Promise<Row[]> {
  const comparisons = COMPARISONS[bench] as readonly Comparison[];
  const cores = availableParallelism();
  const lacking = await whatIsLacking(comparisons, cores, options.quick);
  if (lacking) return comparisons.map(({ name, bar }) => notApplicable(name, bar, lacking));
  measurement ??= measure(options.quick ? QUICK : FULL);
  const measured = await measurement;
  return comparisons.map((comparison) => judge(comparison, measured, cores, options.quick));
}

/** In a few words, or undefined. */
async function whatIsLacking(
  comparisons: readonly Comparison[],
  cores: number,
  quick: boolean,
): Promise<string | undefined> {
  if (!existsSync('/dev/kvm')) return 'no /dev/kvm';
  const { available, reason } = await kvm().probe();
  if (!available) return reason ?? 'no KVM';
  if (!canBuild()) return 'no cc';
  // The device's thread answers while the vCPU's waits: with one core for both, their turns are what is measured.
  if (cores < 2 && !quick && comparisons.some(({ subject }) => subject === 'devices')) return 'needs 2 cores';
  if (comparisons.some(({ against }) => against === 'qemu') && !hasQemu()) return 'no qemu-system-x86_64';
  return undefined;
}

let measurement: Promise<Round[]> | undefined;

async function measure({ rounds, ...amount }: Amount & { readonly rounds: number }): Promise<Round[]> {
  const built = build(amount);
  const withQemu = hasQemu();
  const sound = (run: Run) => checked(run, amount);
  try {
    // The engine compiles first.
    await runDevices(built);
    await runLatches(built);
    const list: Round[] = [];
    for (let i = 0; i < rounds; i++) {
      const before = sound(runBare(built));
      const devices = sound(await runDevices(built));
      const latches = sound(await runLatches(built));
      const qemu = withQemu ? sound(runQemu(built)) : undefined;
      list.push({ bare: [before, sound(runBare(built))], devices, latches, qemu });
    }
    return list;
  } finally {
    built.remove();
  }
}

/** @throws Error if a run is not what it should be: then its figures mean nothing */
export function checked(run: Run, { warm, count }: Amount): Run {
  for (const register of ['pio', 'mmio'] as const) {
    const timing = run.report[register];
    if (timing.count !== count || timing.wrong !== 0) throw new Error(`${register}: ${JSON.stringify(timing)}`);
    const seen = run.seen?.[register] ?? warm + count;
    if (seen !== warm + count) throw new Error(`${register}: ${warm + count} reads, the device saw ${seen}`);
  }
  return run;
}

/** Makes a row of the rounds. */
function judge(comparison: Comparison, measured: readonly Round[], cores: number, quick: boolean): Row {
  const { name, register, subject, against, bar } = comparison;
  const ticks = (run: Run | undefined) => run?.report[register].p50 ?? Number.NaN;
  const own = (one: Round) => (ticks(one.bare[0]) + ticks(one.bare[1])) / 2;
  const other = (one: Round) => (against === 'bare' ? own(one) : ticks(one.qemu));
  const ratios = measured.map((one) => ticks(one[subject]) / other(one));
  const drifts = measured.map((one) => Math.abs(ticks(one.bare[0]) - ticks(one.bare[1])) / own(one));
  const ratio = quantile(ratios, 0.5);
  const drift = quantile(drifts, 0.5);
  const middle = (of: (one: Round) => number) => quantile(measured.map(of), 0.5).toFixed(0);
  const noisy = quick || drift > mostDrift(comparison);
  const spin = cores > 1 ? `the vCPU's thread spins for up to ${SPIN_MICROSECONDS} us` : 'nobody spins';
  return {
    name,
    ratio: round(ratio),
    bar,
    verdict: noisy ? 'NOISY' : ratio <= bar ? 'ok' : 'MISSED',
    p10: round(quantile(ratios, 0.1)),
    p90: round(quantile(ratios, 0.9)),
    rounds: measured.length,
    unit: 'ratio',
    detail:
      `p50 in ticks: ${subject} ${middle((one) => ticks(one[subject]))}, ${against} ${middle(other)}; ` +
      `the bare loop beside itself ${(100 * drift).toFixed(1)} %; ${cores} core${cores > 1 ? 's' : ''}, ${spin}` +
      `${quick ? '; quick: shows only that it runs' : ''}`,
  };
}

/** Share by which the bare loop may differ from itself: as much as the bar leaves, and QEMU is not that near. */
function mostDrift({ against, bar }: Comparison): number {
  return against === 'qemu' ? 0.25 : bar - 1;
}
