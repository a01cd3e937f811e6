// What a machine's ranges look like from outside.
import type { ClientRange } from '../ioreq/client.js';
import type { RangeSet } from '../ioreq/range-set.js';
import type { DeviceInstance } from './device-instance.js';
import type { DeviceCounters, MapRow } from './vm-types.js';

/** Rows of the address map. */
export function mapRows(ranges: readonly ClientRange[], devices: ReadonlyMap<string, DeviceInstance>): MapRow[] {
  return ranges.map((range) => ({
    space: range.space,
    first: range.base,
    last: range.base + range.size - 1,
    device: range.client.name,
    region: range.region,
    type: devices.get(range.client.name)?.plan.metadata.type ?? '',
  }));
}

/** What each range has served. */
export function countersOf(set: RangeSet): DeviceCounters[] {
  return set.list().map((range) => ({
    device: range.client.name,
    region: range.region,
    space: range.space,
    base: range.base,
    size: range.size,
    ...set.counters(range),
  }));
}
