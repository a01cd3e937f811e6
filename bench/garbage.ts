import { PerformanceObserver } from 'node:perf_hooks';
import { accessStream, benchMachine, CLASS_COUNT, startSim } from './devices.js';
import type { Row } from './harness.js';

const REQUESTS = 10_000_000;

/** Collections in ten million requests over sixteen classes, every address and value below 2^31. */
export async function garbageRow(): Promise<Row> {
  const { vm, sim } = await startSim(benchMachine(CLASS_COUNT, 625, 625));
  const stream = accessStream(65536, CLASS_COUNT, 625);
  const run = (count: number) => {
    for (let i = 0; i < count; i++) {
      sim.request(0, 'mmio', (i & 1) === 1, stream[i & 65535] as number, 0, 4, i & 0xff);
      sim.finish(0);
    }
  };
  // Let the engine compile first: its own compilation garbage is not the dispatcher's.
  run(2_000_000);
  await new Promise((resolve) => setTimeout(resolve, 200));
  let collections = 0;
  const observer = new PerformanceObserver((list) => {
    collections += list.getEntries().length;
  });
  observer.observe({ entryTypes: ['gc'] });
  const before = process.memoryUsage().heapUsed;
  run(REQUESTS);
  const grown = process.memoryUsage().heapUsed - before;
  await new Promise((resolve) => setTimeout(resolve, 100));
  observer.disconnect();
  await vm.close();
  return {
    name: 'garbage',
    ratio: collections,
    bar: 0,
    verdict: collections === 0 ? 'ok' : 'MISSED',
    p10: collections,
    p90: collections,
    rounds: 1,
    unit: 'collections',
    detail: `${REQUESTS / 1e6} million requests over ${CLASS_COUNT} classes, heap grew by ${(grown / 1024).toFixed(0)} KiB`,
  };
}
