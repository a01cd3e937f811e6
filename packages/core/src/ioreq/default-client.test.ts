import { describe, expect, it } from 'vitest';
import { TraplineError } from '../errors.js';
import { DefaultClient, type DefaultPolicy, type UnclaimedAccess } from './default-client.js';

function client(policy: DefaultPolicy) {
  const reports: UnclaimedAccess[] = [];
  const fatal: TraplineError[] = [];
  const time = { now: 0 };
  const served = new DefaultClient(
    policy,
    () => time.now,
    (access) => reports.push(access),
    (error) => fatal.push(error),
  );
  const read = (address: number, size = 4) => served.serve(0, 'mmio', false, address, size, 0);
  const write = (address: number, value: number, size = 4) => served.serve(1, 'pio', true, address, size, value);
  return { served, reports, fatal, time, read, write };
}

describe('the default client', () => {
  it('gives all ones unless told otherwise, and counts', () => {
    const { served, read, write } = client({});
    expect(read(0x1000)).toBe(-1);
    write(0x80, 1);
    expect(served.counters).toEqual({ reads: 1, writes: 1, straddles: 0, suppressed: 0 });
  });

  it.each([
    ['ones', -1],
    ['zeros', 0],
    [0xdead_beef, 0xdead_beef | 0],
  ] as const)('gives %s', (value, expected) => {
    expect(client({ value }).read(0)).toBe(expected);
  });

  it('reports each access always', () => {
    const { read, write, reports } = client({ report: 'always' });
    read(0x10, 2);
    read(0x10, 2);
    write(0x20, -1, 1);
    expect(reports).toEqual([
      { vcpu: 0, space: 'mmio', direction: 'read', address: 0x10, size: 2, value: 0xffff },
      { vcpu: 0, space: 'mmio', direction: 'read', address: 0x10, size: 2, value: 0xffff },
      { vcpu: 1, space: 'pio', direction: 'write', address: 0x20, size: 1, value: 0xff },
    ]);
  });

  it('reports an address once, in each space', () => {
    const { read, write, reports } = client({ report: 'once' });
    for (let i = 0; i < 3; i++) {
      read(0x10);
      write(0x10, 0);
    }
    expect(reports.map(({ space }) => space)).toEqual(['mmio', 'pio']);
  });

  it('never reports when told so, and still counts', () => {
    const { served, read, reports } = client({ report: 'never' });
    read(0);
    expect(reports).toEqual([]);
    expect(served.counters.reads).toBe(1);
  });

  it('ends the machine when told so', () => {
    const { read, fatal } = client({ report: 'throw' });
    expect(read(0x1234)).toBe(-1);
    expect(fatal.map((error) => error.what)).toEqual(['nobody claims the read of 4 at mmio 0x1234']);
  });

  it('passes on as many reports a second as allowed and counts the rest', () => {
    const { served, read, reports, time } = client({ report: 'always', perSecond: 2 });
    for (let i = 0; i < 5; i++) read(i);
    time.now = 1000;
    read(9);
    expect(reports.map(({ address }) => address)).toEqual([0, 1, 9]);
    expect(served.counters.suppressed).toBe(3);
  });

  it('remembers no more addresses than it must, whatever the guest scans', () => {
    const { served, read, reports } = client({ report: 'once', perSecond: 1e9 });
    for (let i = 0; i < 5000; i++) read(i * 4);
    read(0);
    expect(reports).toHaveLength(4096);
    expect(served.counters.reads).toBe(5001);
  });

  it('names the client that an access begins in', () => {
    const { served, reports } = client({ report: 'always' });
    served.serve(0, 'pio', false, 0x3ff, 4, 0, 'com1');
    expect(reports[0]?.straddles).toBe('com1');
    expect(served.counters.straddles).toBe(1);
  });

  it.each([0, 3, 16, -1])('reports an access of an impossible size %i without being confused', (size) => {
    const { served, reports } = client({ report: 'always' });
    expect(served.serve(0, 'mmio', true, 0, size, 5)).toBe(-1);
    expect(reports[0]?.size).toBe(size);
  });
});
