import { TraplineError } from '@trapline/core';
import { describe, expect, it } from 'vitest';
import { parseTrace, traceLine } from './trace.js';

describe('parseTrace', () => {
  it.each([
    ['all', {}],
    ['com1', { device: 'com1' }],
    ['com1,write', { device: 'com1', direction: 'write' }],
    ['pio,0x3f8-0x3FF,read', { space: 'pio', addresses: [0x3f8, 0x3ff], direction: 'read' }],
    ['100', { addresses: [100, 100] }],
  ])('%s', (text, filter) => {
    expect(parseTrace(text, ['com1'])).toEqual(filter);
  });

  it('prefers a device that is called like a word of its own', () => {
    expect(parseTrace('read', ['read'])).toEqual({ device: 'read' });
  });

  it('refuses what it does not know', () => {
    expect(() => parseTrace('com1,wrte', ['com1'])).toThrow(TraplineError);
  });
});

describe('traceLine', () => {
  const base = { vcpu: 0, client: 'a', region: '', space: 'mmio', direction: 'write', address: 16, lines: {} } as const;
  it('shows the whole value, and the lines', () => {
    expect(traceLine({ ...base, size: 8, value: 2, valueHigh: 1, lines: { irq: true, b: false } })).toBe(
      'trace cpu0 a mmio write 0x10 8 0x0000000100000002 irq=1 b=0',
    );
    expect(traceLine({ ...base, region: 'r', size: 1, value: 5, valueHigh: 0 })).toBe(
      'trace cpu0 a.r mmio write 0x10 1 0x05',
    );
  });
});
