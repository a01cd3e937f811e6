import { spawnSync } from 'node:child_process';
import { kvm } from '@trapline/native';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { type Built, build } from './build.js';
import type { BenchCells } from './devices.js';
import { parseReport } from './report.js';
import { checked } from './rows.js';
import { hasQemu, type Run, runBare, runDevices, runLatches, runQemu } from './sides.js';

const AMOUNT = { warm: 7, count: 30 };
const EACH = AMOUNT.warm + AMOUNT.count;
const line = (name: string, wrong = '00000000') =>
  `${name} 0000001e ${wrong} 00000010 00000020 00000030 00000040 00000050 0000ffff\n`;

describe('a report of the guest', () => {
  it('is read number by number', () => {
    const { pio, mmio } = parseReport(line('pio') + line('mmio', '00000002'));
    expect(pio).toEqual({ count: 30, wrong: 0, min: 16, p10: 32, p50: 48, p90: 64, p99: 80, max: 65535 });
    expect(mmio.wrong).toBe(2);
  });

  it('is refused if the guest did not get to its end', () => {
    expect(() => parseReport(line('pio'))).toThrow('the guest did not report its mmio reads');
  });

  it('counts only if every read was right, and reached the device', () => {
    const report = parseReport(line('pio') + line('mmio'));
    const good: Run = { report, seen: { pio: EACH, mmio: EACH } };
    expect(checked(good, AMOUNT)).toBe(good);
    expect(() => checked({ ...good, seen: { pio: EACH, mmio: EACH - 1 } }, AMOUNT)).toThrow(
      'mmio: 37 reads, the device',
    );
    expect(() => checked(good, { ...AMOUNT, count: 31 })).toThrow('pio: ');
    const wrong = parseReport(line('pio', '00000001') + line('mmio'));
    expect(() => checked({ report: wrong }, AMOUNT)).toThrow('"wrong":1');
  });
});

const { available } = await kvm().probe();
const canCompile = spawnSync('cc', ['--version']).status === 0;
const canRun = available && canCompile;

/** @param least ticks that no access can take less than */
function plausible(run: Run, least: number) {
  for (const { count, wrong, ...times } of Object.values(run.report)) {
    expect([count, wrong]).toEqual([AMOUNT.count, 0]);
    const { min, p10, p50, p90, p99, max } = times;
    const ordered = [min, p10, p50, p90, p99, max];
    expect(ordered).toEqual([...ordered].sort((a, b) => a - b));
    expect(min).toBeGreaterThanOrEqual(least);
  }
}

/** A compiler may take its time on a busy machine, in ms. */
const COMPILING = 120_000;

/** Nothing leaves a guest and comes back in fewer ticks. */
const EXIT = 100;

describe.skipIf(!canRun)('kvm: the guest that times its accesses', () => {
  let built: Built;
  beforeAll(() => {
    built = build(AMOUNT);
  }, COMPILING);
  afterAll(() => built.remove());

  it('runs on the bare loop, which sees every read', () => {
    const run = runBare(built);
    plausible(run, EXIT);
    expect(run.seen).toEqual({ pio: EACH, mmio: EACH });
  });

  it('runs on devices in TypeScript, which see every read', async () => {
    const run = await runDevices(built);
    plausible(run, EXIT);
    expect(run.seen).toEqual({ pio: EACH, mmio: EACH });
  });

  it('runs on latches, no read of which enters JavaScript', async () => {
    let entered = 0;
    const run = await runLatches(built, (cells: BenchCells) => {
      for (const cell of [cells.scratch, cells.counter]) {
        const read = cell.read.bind(cell);
        cell.read = (offset, size) => {
          entered++;
          return read(offset, size);
        };
        // The framework looks, for the value to start with; that is no access.
        cell.peek = read;
      }
    });
    plausible(run, EXIT);
    expect(run.seen).toEqual({ pio: EACH, mmio: EACH });
    expect(entered).toBe(0);
  });

  it.skipIf(!hasQemu())("runs on QEMU's devices", () => plausible(runQemu(built), EXIT));
});

describe('the guest that times its accesses', () => {
  it.skipIf(!canCompile || !hasQemu())(
    "runs on QEMU's devices and its software CPU",
    () => {
      const built = build(AMOUNT);
      try {
        plausible(runQemu(built, 'tcg'), 1);
      } finally {
        built.remove();
      }
    },
    COMPILING,
  );
});
