import { accessStream, benchMachine, CLASS_COUNT, startSim } from './devices.js';
import { type Bench, compare, type Row } from './harness.js';

const STREAM = 65536;

/** Reads and writes alternating through page, dispatcher and handler. */
function traffic(sim: Awaited<ReturnType<typeof startSim>>['sim'], stream: Int32Array): (iterations: number) => void {
  return (iterations) => {
    const mask = stream.length - 1;
    for (let i = 0; i < iterations; i++) {
      sim.request(0, 'mmio', (i & 1) === 1, stream[i & mask] as number, 0, 4, i & 0xff);
      sim.finish(0);
    }
  };
}

/** 10,000 ranges against one per class: same classes, same addresses, same random order. */
export async function dispatchRow(): Promise<Row> {
  const cells = 625;
  const few = await startSim(benchMachine(CLASS_COUNT, 1, cells));
  const many = await startSim(benchMachine(CLASS_COUNT, cells, cells));
  const stream = accessStream(STREAM, CLASS_COUNT, cells);
  const bench: Bench = {
    name: 'dispatch',
    bar: 1.5,
    unit: 'ratio',
    iterations: 300_000,
    baseline: traffic(few.sim, stream),
    subject: traffic(many.sim, stream),
  };
  const row = compare(bench);
  await few.vm.close();
  await many.vm.close();
  return { ...row, detail: `10,000 ranges against ${CLASS_COUNT}: ${row.detail}` };
}

/** A request through the whole of core with one device class, beside the bare method call. */
export async function requestRow(): Promise<Row> {
  const { vm, sim } = await startSim(benchMachine(1, 1, 64));
  const stream = accessStream(STREAM, 1, 64);
  const device = Object.values(vm.devices)[0] as {
    read(offset: number): number;
    write(o: number, s: number, v: number): void;
  };
  let sum = 0;
  const row = compare({
    name: 'sim-js-request',
    bar: 150,
    unit: 'ns',
    absolute: true,
    iterations: 300_000,
    baseline: (iterations) => {
      const mask = stream.length - 1;
      for (let i = 0; i < iterations; i++) {
        const offset = (stream[i & mask] as number) & 0xfff;
        if ((i & 1) === 1) device.write(offset, 4, i & 0xff);
        else sum += device.read(offset);
      }
    },
    subject: traffic(sim, stream),
  });
  await vm.close();
  return { ...row, detail: `${row.detail} (bare method call is the baseline; checksum ${sum & 1})` };
}
