import { describe, expect, it } from 'vitest';
import { Cell, dispatcherRig, owned } from '../../test/ranges.js';
import { type TraceFilter, type TraceRecord, traceMatches } from './trace.js';

const record: TraceRecord = {
  vcpu: 0,
  client: 'com1',
  region: '',
  space: 'pio',
  direction: 'write',
  address: 0x3f8,
  size: 2,
  value: 0,
  valueHigh: 0,
  lines: {},
};

describe('a trace filter', () => {
  it.each<[TraceFilter, boolean]>([
    [{}, true],
    [{ device: 'com1' }, true],
    [{ device: 'com2' }, false],
    [{ space: 'mmio' }, false],
    [{ direction: 'read' }, false],
    [{ addresses: [0x3f9, 0x400] }, true],
    [{ addresses: [0x3fa, 0x400] }, false],
    [{ addresses: [0, 0x3f7] }, false],
    [{ device: 'com1', space: 'pio', direction: 'write', addresses: [0, 0xffff] }, true],
  ])('%o matches: %s', (filter, expected) => {
    expect(traceMatches(filter, record)).toBe(expected);
  });
});

describe('tracing', () => {
  const traced = () => {
    const seen: TraceRecord[] = [];
    const cell = new Cell(0x5a);
    const rig = dispatcherRig([owned(0x10, 4, cell), owned(0x20, 4, new Cell(1))]);
    return { seen, cell, rig };
  };
  const read = { type: 'mmio', direction: 'read', address: 0x10, size: 1 } as const;

  it('shows an access after it was served, and stops when told to', () => {
    const { seen, rig } = traced();
    const stop = rig.dispatcher.traceOn({}, (one) => seen.push(one));
    rig.request(3, read);
    rig.request(0, { ...read, address: 0x999 });
    stop();
    rig.request(0, read);
    expect(seen.map(({ vcpu, client, value }) => [vcpu, client, value])).toEqual([
      [3, 'at16', 0x5a],
      [0, 'default', 0xffff_ffff],
    ]);
    expect(rig.dispatcher.set.counters(rig.dispatcher.set.range(1)).reads).toBe(2);
  });

  it('sees also ranges that are added while it is on, those that can match, and no longer when it is off', () => {
    const { seen, rig } = traced();
    const { set } = rig.dispatcher;
    const stop = rig.dispatcher.traceOn({ addresses: [0x40, 0x4f] }, (one) => seen.push(one));
    set.add([owned(0x40, 4, new Cell(7)), owned(0x50, 4, new Cell(8))]);
    const direct = () => [3, 4].map((entry) => set.u32[entry * 16 + 11]);
    expect(direct()).toEqual([0, 7]);
    for (const address of [0x40, 0x50]) rig.request(0, { ...read, address });
    expect(seen.map(({ client, value }) => [client, value])).toEqual([['at64', 7]]);
    stop();
    expect(direct()).toEqual([7, 7]);
    set.remove(({ base }) => base >= 0x40);
    set.add([owned(0x40, 4, new Cell(7))]);
    expect(direct()).toContain(7);
  });

  it('takes only the ranges that can match off the direct path', () => {
    const { rig } = traced();
    const direct = () => [1, 2].map((entry) => rig.dispatcher.set.u32[entry * 16 + 11]);
    const stop = rig.dispatcher.traceOn({ addresses: [0x20, 0x20] }, () => {});
    expect(direct()).toEqual([7, 0]);
    stop();
    expect(direct()).toEqual([7, 7]);
  });

  it('shows failed devices and refused accesses too', () => {
    const { seen, rig } = traced();
    const bad = owned(0x40, 4, new Cell(), { valid: { max: 1 } });
    rig.dispatcher.set.add([bad]);
    rig.dispatcher.traceOn({}, (one) => seen.push(one));
    rig.request(0, { ...read, address: 0x40, size: 4 });
    rig.dispatcher.disable(bad.client, new Error() as never);
    rig.request(0, { ...read, address: 0x40 });
    expect(seen.map(({ client, value }) => [client, value])).toEqual([
      ['at64', 0xffff_ffff],
      ['at64', 0xff],
    ]);
  });

  it('is not disturbed by a sink that throws, nor is the access', () => {
    const { seen, rig } = traced();
    rig.dispatcher.traceOn({}, () => {
      throw new Error('a broken tool');
    });
    rig.dispatcher.traceOn({}, (one) => seen.push(one));
    expect(rig.request(0, read).valueLow).toBe(0x5a);
    expect(seen).toHaveLength(1);
    expect(rig.completed).toEqual([0]);
  });

  it('shows both halves of a 64-bit write', () => {
    const { seen, rig } = traced();
    rig.dispatcher.set.add([owned(0x80, 8, new Cell())]);
    rig.dispatcher.traceOn({}, (one) => seen.push(one));
    rig.request(0, { type: 'mmio', direction: 'write', address: 0x80, size: 8, valueLow: 1, valueHigh: 0x8000_0000 });
    expect(seen[0]).toMatchObject({ value: 1, valueHigh: 0x8000_0000, size: 8 });
  });
});
