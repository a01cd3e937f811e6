import fc from 'fast-check';
import { describe, expect, it } from 'vitest';
import { HostClock, type HostTime, VirtualClock } from './clock.js';

/** A host whose time and timers are in the test's hands. */
class FakeHost implements HostTime {
  time = 1000;
  pending: { at: number; run: () => void } | undefined;
  armed = 0;
  now(): number {
    return this.time;
  }
  setTimeout(run: () => void, ms: number): unknown {
    this.armed++;
    this.pending = { at: this.time + ms, run };
    return this.pending;
  }
  clearTimeout(handle: unknown): void {
    if (this.pending === handle) this.pending = undefined;
  }
  /** Moves on and fires what is due, once. */
  pass(ms: number): void {
    this.time += ms;
    const due = this.pending;
    if (!due || due.at > this.time) return;
    this.pending = undefined;
    due.run();
  }
}

const timers = fc.array(
  fc.record({ at: fc.nat(50), cancel: fc.option(fc.nat(30), { freq: 2 }), again: fc.boolean() }),
  { maxLength: 30 },
);

describe('the virtual clock', () => {
  it('fires like a sorted list: by deadline, then in the order set, cancelled ones never', () => {
    fc.assert(
      fc.property(timers, fc.array(fc.nat(20), { maxLength: 5 }), (given, steps) => {
        const clock = new VirtualClock();
        const fired: string[] = [];
        const handles = given.map(({ at }, i) => clock.setTimer(at, () => fired.push(`${i}@${clock.now()}`)));
        const gone = new Set<number>();
        for (const { cancel } of given) {
          if (cancel === null || !handles[cancel]) continue;
          handles[cancel].cancel();
          handles[cancel].cancel();
          gone.add(cancel);
        }
        let until = 0;
        for (const ms of steps) {
          clock.advance(ms);
          until += ms;
        }
        const due = given.map(({ at }, i) => ({ at, i })).filter(({ at, i }) => at <= until && !gone.has(i));
        const expected = due.sort((a, b) => a.at - b.at || a.i - b.i).map(({ at, i }) => `${i}@${at}`);
        expect(fired).toEqual(steps.length > 0 ? expected : []);
        expect(clock.now()).toBe(until);
      }),
    );
  });

  it('fires a timer set meanwhile for the past in the same step', () => {
    const clock = new VirtualClock();
    const fired: number[] = [];
    clock.setTimer(5, () => clock.setTimer(1, () => fired.push(clock.now())));
    clock.advance(10);
    expect(fired).toEqual([5]);
  });

  it('jumps to the next timer', () => {
    const clock = new VirtualClock();
    clock.setTimer(7, () => {});
    expect([clock.advanceToNext(), clock.now(), clock.advanceToNext()]).toEqual([true, 7, false]);
  });

  it('drops its timers when it is set', () => {
    const clock = new VirtualClock();
    let fired = 0;
    const handle = clock.setTimer(5, () => fired++);
    clock.set(100);
    clock.advance(100);
    handle.cancel();
    expect([fired, clock.now()]).toEqual([0, 200]);
  });

  it.each([Number.NaN, Number.POSITIVE_INFINITY])('refuses a timer at %s: it would bury the others', (deadline) => {
    const clock = new VirtualClock();
    expect(() => clock.setTimer(deadline, () => {})).toThrow(expect.objectContaining({ code: 'TL_STATE_VALUE' }));
  });

  it('does not grow with timers that are cancelled', () => {
    const clock = new VirtualClock();
    const fired: number[] = [];
    for (const at of [3, 1, 2]) clock.setTimer(at, () => fired.push(at));
    for (let i = 0; i < 100_000; i++) clock.setTimer(1e9, () => {}).cancel();
    expect((clock as unknown as { timers: { length: number } }).timers.length).toBeLessThan(200);
    clock.advance(10);
    expect(fired).toEqual([1, 2, 3]);
  });
});

describe("the host's clock", () => {
  const running = () => {
    const host = new FakeHost();
    const clock = new HostClock(host);
    clock.start();
    return { host, clock };
  };

  it('stands still before it is started and while it is stopped', () => {
    const host = new FakeHost();
    const clock = new HostClock(host);
    host.time += 50;
    expect(clock.now()).toBe(0);
    clock.start();
    clock.start();
    host.time += 5;
    clock.stop();
    clock.stop();
    host.time += 50;
    expect(clock.now()).toBe(5);
    clock.start();
    host.time += 1;
    expect(clock.now()).toBe(6);
  });

  it('fires at the deadline or after, never before', () => {
    const { host, clock } = running();
    const fired: number[] = [];
    clock.setTimer(1.5, () => fired.push(clock.now()));
    host.pass(1);
    expect(fired).toEqual([]);
    host.pass(1);
    expect(fired).toEqual([2]);
    expect(host.pending).toBeUndefined();
  });

  it('fires nothing while it is stopped, and the rest afterwards', () => {
    const { host, clock } = running();
    let fired = 0;
    clock.setTimer(5, () => fired++);
    clock.stop();
    host.pass(100);
    clock.setTimer(1, () => fired++);
    expect([fired, host.pending]).toEqual([0, undefined]);
    clock.start();
    host.pass(5);
    expect(fired).toBe(2);
  });

  it('reaches a timer further away than setTimeout can wait', () => {
    const { host, clock } = running();
    let fired = 0;
    clock.setTimer(2 ** 31 + 5, () => fired++);
    host.pass(2 ** 31 - 1);
    expect(fired).toBe(0);
    host.pass(6);
    expect(fired).toBe(1);
  });

  it('leaves the event loop its turn when a timer arms itself for the past', () => {
    const { host, clock } = running();
    let fired = 0;
    const again = () => {
      fired++;
      clock.setTimer(0, again);
    };
    clock.setTimer(1, again);
    host.pass(1);
    expect(fired).toBe(1);
    host.pass(0);
    expect(fired).toBe(2);
  });

  it('goes on when a timer throws', () => {
    const { host, clock } = running();
    let fired = 0;
    clock.setTimer(1, () => {
      throw new Error('no');
    });
    clock.setTimer(2, () => fired++);
    expect(() => host.pass(1)).toThrow('no');
    host.pass(1);
    expect(fired).toBe(1);
  });

  it('keeps running when it is set, without its timers', () => {
    const { host, clock } = running();
    clock.setTimer(5, () => expect.unreachable());
    clock.set(1e6);
    host.pass(10);
    expect(clock.now()).toBe(1e6 + 10);
  });
});
