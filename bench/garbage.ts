import { PerformanceObserver } from 'node:perf_hooks';
import { accessStream, benchMachine, CLASS_COUNT, startSim } from './devices.js';
import { quantile, type Row } from './harness.js';

const REQUESTS = 10_000_000;
const ROUNDS = 7;

/** Collections while something runs. The observer's own report comes on a later turn. */
export async function collections(run: () => unknown): Promise<number> {
  let count = 0;
  const observer = new PerformanceObserver((list) => {
    count += list.getEntries().length;
  });
  observer.observe({ entryTypes: ['gc'] });
  await run();
  await new Promise((resolve) => setTimeout(resolve, 50));
  observer.disconnect();
  return count;
}

/**
 * Collections in ten million requests over sixteen classes, every address and value below 2^31; the
 * control is the same loop with bare method calls.
 */
export async function garbageRow(): Promise<Row> {
  const { vm, sim } = await startSim(benchMachine(CLASS_COUNT, 625, 625));
  const stream = accessStream(65536, CLASS_COUNT, 625);
  const devices = Object.values(vm.devices) as { read(offset: number): number }[];
  let sum = 0;
  const bare = () => {
    for (let i = 0; i < REQUESTS; i++) {
      sum = (sum + (devices[i & 15]?.read((stream[i & 65535] as number) & 63) ?? 0)) | 0;
    }
  };
  const requests = () => {
    for (let i = 0; i < REQUESTS; i++) {
      sim.request(0, 'mmio', (i & 1) === 1, stream[i & 65535] as number, 0, 4, i & 0xff);
      sim.finish(0);
    }
  };
  // The engine compiles first: its garbage is not the dispatcher's.
  requests();
  bare();
  const control: number[] = [];
  const counts: number[] = [];
  let grown = 0;
  for (let i = 0; i < ROUNDS; i++) {
    control.push(await collections(bare));
    const before = process.memoryUsage().heapUsed;
    counts.push(await collections(requests));
    grown = Math.max(grown, process.memoryUsage().heapUsed - before);
  }
  await vm.close();
  const most = Math.max(...counts);
  return {
    name: 'garbage',
    ratio: most,
    bar: 0,
    verdict: quantile(control, 0.5) > 0 ? 'NOISY' : most === 0 ? 'ok' : 'MISSED',
    p10: quantile(counts, 0.1),
    p90: quantile(counts, 0.9),
    rounds: ROUNDS,
    unit: 'collections',
    detail: `most in any of ${ROUNDS} times ${REQUESTS / 1e6} million requests over ${CLASS_COUNT} classes; heap grew by at most ${(grown / 1024).toFixed(0)} KiB (checksum ${sum & 1})`,
  };
}
