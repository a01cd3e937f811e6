// What a machine did, told when it has ended.
import type { DefaultCounters, DeviceCounters, Vm, VmExit } from '@trapline/core';
import { table } from '../table.js';
import type { Ending } from './process-guard.js';

/** What `run` tells at the end, as data. */
export interface RunReport {
  readonly exit: { readonly reason: VmExit['reason'] | Ending['why']; readonly code: number };
  readonly backend: string;
  readonly ranges: readonly (DeviceCounters & { readonly meanMicroseconds?: number })[];
  readonly unclaimed: DefaultCounters;
}

/** Collects it; the machine may be closed already. */
export function reportOf(vm: Vm, backend: string, exit: RunReport['exit']): RunReport {
  const ranges = vm.counters().map((counters) => ({
    ...counters,
    ...(counters.samples > 0 ? { meanMicroseconds: (1000 * counters.sampledMs) / counters.samples } : {}),
  }));
  return { exit, backend, ranges, unclaimed: vm.unclaimed };
}

/** As a table: one line per range, and what nobody claimed. */
export function reportText({ ranges, unclaimed }: RunReport, profile: boolean): string {
  const rows = ranges.map(({ device, region, reads, writes, bytesRead, bytesWritten, meanMicroseconds, samples }) => [
    device,
    region,
    String(reads),
    String(writes),
    String(bytesRead),
    String(bytesWritten),
    meanMicroseconds === undefined ? '-' : `${meanMicroseconds.toFixed(1)} us`,
    String(samples),
  ]);
  const { reads, writes, straddles, suppressed } = unclaimed;
  if (reads + writes > 0) rows.push(['(unclaimed)', '', String(reads), String(writes), '', '', '', '']);
  const notes = [
    straddles > 0 ? `${straddles} of the unclaimed accesses began in a range and left it` : '',
    suppressed > 0 ? `${suppressed} reports of unclaimed accesses were held back` : '',
    profile ? '' : 'mean service time: 1 access in 64 is timed; --profile times all',
  ].filter(Boolean);
  const head = ['device', 'region', 'reads', 'writes', 'bytes read', 'written', 'mean', 'timed'];
  return `${table(head, rows, new Set([2, 3, 4, 5, 6, 7]))}${notes.map((note) => `${note}\n`).join('')}`;
}
