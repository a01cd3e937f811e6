import { describe, expect, it } from 'vitest';
import { type LogRecord, RateLimit, SinkLog } from './log.js';

describe('a rate limit', () => {
  it('lets a burst through in each window and counts the rest', () => {
    let now = 0;
    const limit = new RateLimit(2, 1000, () => now);
    const allowed = () => [1, 2, 3].map(() => limit.allow());
    expect(allowed()).toEqual([true, true, false]);
    now = 999;
    expect(limit.allow()).toBe(false);
    now = 1000;
    expect(allowed()).toEqual([true, true, false]);
    expect(limit.suppressed).toBe(3);
  });
});

describe("a device's log", () => {
  it('passes its own lines on, and at most ten a second of what the guest causes', () => {
    const records: LogRecord[] = [];
    const reports: string[] = [];
    const log = new SinkLog(
      'com1',
      (record) => records.push(record),
      () => 0,
      (about) => reports.push(about),
    );
    for (let i = 0; i < 30; i++) {
      log.info('hello');
      if (i % 2) log.guestError('bad');
      else log.unimplemented('later');
    }
    expect(records.filter(({ level }) => level === 'info')).toHaveLength(30);
    expect(records.filter(({ about }) => about !== undefined)).toHaveLength(10);
    expect([reports.length, log.suppressed]).toEqual([10, 20]);
    expect(records[1]).toEqual({ level: 'warn', who: 'com1', message: 'later', about: 'unimplemented' });
  });

  it('has four levels', () => {
    const levels: string[] = [];
    const log = new SinkLog(
      'x',
      ({ level }) => levels.push(level),
      () => 0,
    );
    for (const level of ['debug', 'info', 'warn', 'error'] as const) log[level]('');
    expect(levels).toEqual(['debug', 'info', 'warn', 'error']);
  });
});
