// Compares two ways of doing the same work, in one process and in turn, and says only what the
// numbers support: absolute times on a shared machine mean nothing, ratios within a round do.

/** One comparison. */
export interface Bench {
  readonly name: string;
  /** Ratio, or figure, that must not be exceeded. */
  readonly bar: number;
  /** What is measured, in a few words. */
  readonly unit: string;
  /** Runs `iterations` operations of the baseline. */
  readonly baseline: (iterations: number) => void;
  /** Runs `iterations` operations of what is measured. */
  readonly subject: (iterations: number) => void;
  readonly iterations: number;
  /** Judge the subject's own ns per operation instead of the ratio; the ratio is still printed. */
  readonly absolute?: boolean;
}

/** The result of one comparison. */
export interface Row {
  readonly name: string;
  /** Median of the rounds' ratios (or of the subject's ns per operation, for absolute rows); null if not measured. */
  readonly ratio: number | null;
  readonly bar: number;
  /** `n/a` if this machine cannot run it: `detail` says what it lacks. */
  readonly verdict: 'ok' | 'MISSED' | 'NOISY' | 'n/a';
  readonly p10: number | null;
  readonly p90: number | null;
  readonly rounds: number;
  readonly unit: string;
  readonly detail: string;
}

const ROUNDS = 11;
/** The baseline is run twice a round; if it differs from itself by more, the machine was too busy to judge. */
const MOST_DRIFT = 0.25;

function nsPerOperation(run: (iterations: number) => void, iterations: number): number {
  const started = process.hrtime.bigint();
  run(iterations);
  return Number(process.hrtime.bigint() - started) / iterations;
}

/** The value below which `share` of the sorted list lies. */
export function quantile(list: readonly number[], share: number): number {
  const sorted = [...list].sort((a, b) => a - b);
  return sorted[Math.min(sorted.length - 1, Math.floor(share * sorted.length))] as number;
}

/** Runs a comparison: rounds of baseline, subject, baseline. */
export function compare(bench: Bench, rounds = ROUNDS): Row {
  const { iterations } = bench;
  for (let i = 0; i < 3; i++) {
    bench.baseline(iterations);
    bench.subject(iterations);
  }
  const ratios: number[] = [];
  const drifts: number[] = [];
  const base: number[] = [];
  const subject: number[] = [];
  for (let i = 0; i < rounds; i++) {
    const before = nsPerOperation(bench.baseline, iterations);
    const measured = nsPerOperation(bench.subject, iterations);
    const after = nsPerOperation(bench.baseline, iterations);
    const own = (before + after) / 2;
    ratios.push(measured / own);
    drifts.push(Math.abs(before - after) / own);
    base.push(own);
    subject.push(measured);
  }
  const judged = bench.absolute ? subject : ratios;
  const ratio = quantile(judged, 0.5);
  const noisy = quantile(drifts, 0.5) > MOST_DRIFT;
  return {
    name: bench.name,
    ratio: round(ratio),
    bar: bench.bar,
    verdict: noisy ? 'NOISY' : ratio <= bench.bar ? 'ok' : 'MISSED',
    p10: round(quantile(judged, 0.1)),
    p90: round(quantile(judged, 0.9)),
    rounds,
    unit: bench.unit,
    detail: `baseline ${quantile(base, 0.5).toFixed(1)} ns, subject ${quantile(subject, 0.5).toFixed(1)} ns, ratio ${quantile(ratios, 0.5).toFixed(2)}`,
  };
}

/** The row of a comparison that this machine cannot make, for want of what `reason` says in a few words. */
export function notApplicable(name: string, bar: number, reason: string): Row {
  return { name, ratio: null, bar, verdict: 'n/a', p10: null, p90: null, rounds: 0, unit: 'ratio', detail: reason };
}

export function round(value: number): number {
  return Math.round(value * 1000) / 1000;
}
