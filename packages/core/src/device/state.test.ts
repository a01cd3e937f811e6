import { describe, expect, it } from 'vitest';
import { drive } from '../testing/drive.js';
import { bool, bytes, fifo, oneOf, timer, u8, u53 } from './cells.js';
import { Device, Pio } from './decorators.js';
import { STATE_CELLS, state } from './state.js';
import { Clock } from './tokens.js';

const make = () => state({ n: u8(3), on: bool(), mode: oneOf('idle', 'busy'), data: bytes(2), rx: fifo(2) });
const cells = (made: ReturnType<typeof make>) => made[STATE_CELLS];

describe('state', () => {
  it('saves, resets and restores every cell', () => {
    const made = make();
    made.n = 9;
    made.on = true;
    made.mode = 'busy';
    made.data.set([1, 2]);
    made.rx.push(7);
    const saved = cells(made).save();
    expect(saved).toEqual({ n: 9, on: true, mode: 'busy', data: '0102', rx: '07' });
    cells(made).reset();
    expect(cells(made).save()).toEqual({ n: 3, on: false, mode: 'idle', data: '0000', rx: '' });
    cells(made).check(saved, 'x')();
    expect(cells(made).save()).toEqual(saved);
  });

  it.each<[string, unknown]>([
    ['null', null],
    ['a missing cell', { n: 1, on: true, mode: 'idle', data: '0000' }],
    ['a cell nobody has', { n: 1, on: true, mode: 'idle', data: '0000', rx: '', extra: 0 }],
    ['a number that does not fit', { n: 256, on: true, mode: 'idle', data: '0000', rx: '' }],
    ['a number for a boolean', { n: 1, on: 1, mode: 'idle', data: '0000', rx: '' }],
    ['an unknown name', { n: 1, on: true, mode: 'lazy', data: '0000', rx: '' }],
    ['bytes that are too short', { n: 1, on: true, mode: 'idle', data: '00', rx: '' }],
    ['bytes that are no base 16', { n: 1, on: true, mode: 'idle', data: 'zz00', rx: '' }],
    ['a queue that is too long', { n: 1, on: true, mode: 'idle', data: '0000', rx: '010203' }],
    ['what has no text', { n: { toString: 1, valueOf: 1 }, on: true, mode: 'idle', data: '0000', rx: '' }],
  ])('refuses %s, and changes nothing', (_what, saved) => {
    const made = make();
    expect(() => cells(made).check(saved, 'dev.state')).toThrow(expect.objectContaining({ code: 'TL_STATE_INVALID' }));
    expect(made.n).toBe(3);
  });

  it('is made of cells only', () => {
    expect(() => state({ n: 5 } as never)).toThrow(/n is no state cell/);
  });
});

@Device({ type: 'ticker', summary: 'counts' })
@Pio({ base: 0x10, size: 1 })
class Ticker {
  readonly state = state({ ticks: u53(), tick: timer(() => this.fire()) });
  constructor(private readonly clock: Clock) {}
  read() {
    return this.state.ticks & 0xff;
  }
  write(_offset: number, _size: number, value: number) {
    this.state.tick.after(value);
  }
  private fire() {
    this.state.ticks++;
    if (this.state.ticks < 3) this.state.tick.at(this.clock.now() + 10);
  }
}

describe('a timer', () => {
  it('fires once at its deadline, and may arm itself again', () => {
    const t = drive(Ticker);
    t.guest.write(0, 1, 5);
    t.clock.advance(4.9);
    expect(t.device.state.ticks).toBe(0);
    t.clock.advance(0.1);
    expect(t.device.state.ticks).toBe(1);
    t.clock.advance(1000);
    expect(t.device.state.ticks).toBe(3);
    expect(t.device.state.tick.armed).toBe(false);
  });

  it('is one: a new deadline replaces the old', () => {
    const t = drive(Ticker);
    t.guest.write(0, 1, 5);
    t.guest.write(0, 1, 50);
    t.clock.advance(49);
    expect(t.device.state.ticks).toBe(0);
  });

  it('is saved as its deadline and fires there after a restore', () => {
    const t = drive(Ticker);
    t.guest.write(0, 1, 30);
    t.clock.advance(10);
    const saved = JSON.parse(JSON.stringify(t.save()));
    t.reset();
    t.clock.advance(1000);
    expect(t.device.state.ticks).toBe(0);
    t.restore(saved);
    expect(t.device.state.tick.deadline).toBe(30);
    t.clock.advance(19);
    expect(t.device.state.ticks).toBe(0);
    t.clock.advance(1);
    expect(t.device.state.ticks).toBe(1);
  });

  it('is disarmed by a reset', () => {
    const t = drive(Ticker);
    t.guest.write(0, 1, 5);
    t.reset();
    t.clock.advance(100);
    expect(t.device.state.ticks).toBe(0);
  });

  it.each([Number.NaN, Number.POSITIVE_INFINITY])('refuses %s', (deadline) => {
    const t = drive(Ticker);
    expect(() => t.device.state.tick.at(deadline)).toThrow(expect.objectContaining({ code: 'TL_STATE_VALUE' }));
    expect(t.device.state.tick.armed).toBe(false);
  });
});
