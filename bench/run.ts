// `npm run bench [-- --json] [--quick] [NAME...]`; what --quick does is in kvm/rows.ts
import { availableParallelism } from 'node:os';
import { dispatchRow, requestRow } from './dispatch.js';
import { garbageRow } from './garbage.js';
import type { Row } from './harness.js';
import { type KvmBench, kvmRows } from './kvm/rows.js';
import { fairnessRow, idleRow, nativeGarbageRow, roundtripRows, wakeRow, wedgedRow } from './native.js';

/** By name; one name may give several rows. */
const ROWS: Readonly<Record<string, () => Promise<Row | readonly Row[]>>> = {
  dispatch: dispatchRow,
  garbage: garbageRow,
  'sim-js-request': requestRow,
  'ioreq-roundtrip': roundtripRows,
  wake: wakeRow,
  idle: idleRow,
  fairness: fairnessRow,
  'four-vms': wedgedRow,
  'garbage-native': nativeGarbageRow,
  'kvm-pio': () => onKvm('kvm-pio'),
  'kvm-mmio': () => onKvm('kvm-mmio'),
  'kvm-latch': () => onKvm('kvm-latch'),
  'kvm-vs-qemu': () => onKvm('kvm-vs-qemu'),
};

const args = process.argv.slice(2);
const json = args.includes('--json');
const onKvm = (name: KvmBench) => kvmRows(name, { quick: args.includes('--quick') });
const wanted = args.filter((arg) => !arg.startsWith('--'));
const rows: Row[] = [];
for (const [name, run] of Object.entries(ROWS)) {
  if (wanted.length > 0 && !wanted.includes(name)) continue;
  for (const row of [await run()].flat()) {
    rows.push(row);
    if (!json) print(row);
  }
}
if (json) console.log(JSON.stringify(rows, null, 2));
else console.log(`node ${process.version}, ${availableParallelism()} cores`);

function print(row: Row): void {
  if (row.ratio === null) {
    console.log(`${row.verdict.padEnd(6)} ${row.name}: n/a: ${row.detail} (bar ${row.bar})`);
    return;
  }
  const figure = row.unit === 'ratio' ? `${row.ratio.toFixed(2)}x` : `${row.ratio} ${row.unit}`;
  const spread = row.rounds > 1 ? ` (p10 ${row.p10}, p90 ${row.p90}, ${row.rounds} rounds)` : '';
  console.log(`${row.verdict.padEnd(6)} ${row.name}: ${figure}, bar ${row.bar}${spread}\n       ${row.detail}`);
}
