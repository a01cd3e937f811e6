// Rules 1 to 3: what is pending, what acknowledges it, what the line does.
import { drive } from '@trapline/core/testing';
import { describe, expect, it } from 'vitest';
import { memoryConsole, Uart16550 } from './index.js';
import { CAUSE } from './spec.js';

type Config = Partial<Parameters<typeof drive<typeof Uart16550>>[1]>;

/** A UART with OUT2 on, so that its line follows its causes. */
function uart(config: Config = {}) {
  const t = drive(Uart16550, config);
  t.guest.regs.mcr.write({ out2: true });
  return { ...t, irq: t.irq, regs: t.guest.regs };
}
/** The cause IIR shows; reading it has its side effect. */
const cause = ({ regs }: ReturnType<typeof uart>) => regs.iir.read() & 0x0f;

describe('after reset', () => {
  it('has the values of the data sheet', () => {
    const { regs } = uart();
    expect(regs.ier.read()).toBe(0);
    expect(regs.iir.read()).toBe(0x01);
    expect(regs.lcr.read()).toBe(0);
    expect(regs.lsr.read()).toBe(0x60);
    expect(regs.msr.read()).toBe(0xb0);
  });

  it('drives MCR low, so that no interrupt reaches the PC', () => {
    expect(drive(Uart16550).guest.regs.mcr.read()).toBe(0);
  });

  it('divides for 9600 baud', () => {
    const { regs } = uart();
    regs.lcr.write({ dlab: true });
    expect([regs.dll.read(), regs.dlm.read()]).toEqual([12, 0]);
  });

  it('comes back to them', () => {
    const t = drive(Uart16550, { console: memoryConsole() });
    const fresh = t.save();
    t.guest.regs.fcr.write(0xc1);
    t.guest.regs.lcr.write(0x1b);
    t.guest.regs.mcr.write(0x1f);
    t.guest.regs.ier.write(0x0f);
    t.guest.regs.thr.write(0x41);
    expect(t.irq.level).toBe(true);
    t.reset();
    expect(t.irq.level).toBe(false);
    expect(t.save()).toEqual(fresh);
  });
});

describe('registers', () => {
  it.each([
    ['ier', 0x0f],
    ['lcr', 0xff],
    ['mcr', 0x1f],
    ['scr', 0xff],
  ] as const)('%s holds the bits %i', (name, held) => {
    const { regs } = uart();
    regs[name].write(0xff);
    expect(regs[name].read()).toBe(held);
    regs.lcr.write(0);
    regs[name].write(0);
    expect(regs[name].read()).toBe(0);
  });

  it('DLAB swaps data and IER for the divisor, and nothing else', () => {
    const { regs } = uart();
    regs.ier.write(0x05);
    regs.lcr.write({ dlab: true });
    regs.dll.write(0x34);
    regs.dlm.write(0x12);
    expect(regs.mcr.read()).toBe(0x08);
    expect(regs.iir.read()).toBe(0x01);
    regs.lcr.write({ wordLength: 3 });
    expect(regs.ier.read()).toBe(0x05);
    regs.lcr.write({ dlab: true });
    expect([regs.dll.read(), regs.dlm.read()]).toEqual([0x34, 0x12]);
  });

  it('a divisor write is no output', () => {
    const console = memoryConsole();
    const { regs } = uart({ console });
    regs.lcr.write({ dlab: true });
    regs.dll.write(0x41);
    expect(console.output).toBe('');
  });

  it('LSR and MSR ignore writes', () => {
    const t = drive(Uart16550);
    const base = t.device.regs;
    t.guest.regs.scr.write(1);
    expect([base.lsr.value, base.msr.value]).toEqual([0x60, 0xb0]);
  });
});

describe('priority', () => {
  it('reports line status, then data, then the transmitter, then the modem', () => {
    const one = uart();
    one.regs.fcr.write(0x01);
    one.device.inject(0x41, { parity: true });
    one.device.setModemInputs({ cts: false, dsr: true, ri: false, dcd: true });
    one.regs.ier.write(0x0f);
    expect(cause(one)).toBe(CAUSE.lineStatus);
    one.regs.lsr.read();
    expect(cause(one)).toBe(CAUSE.received);
    one.regs.rbr.read();
    expect(cause(one)).toBe(CAUSE.transmitterEmpty);
    expect(cause(one)).toBe(CAUSE.modemStatus);
    one.regs.msr.read();
    expect(cause(one)).toBe(CAUSE.none);
    expect(one.irq.level).toBe(false);
  });

  it('a higher cause does not acknowledge the transmitter', () => {
    const one = uart();
    one.regs.ier.write(0x03);
    one.device.inject(0x41);
    expect(cause(one)).toBe(CAUSE.received);
    expect(cause(one)).toBe(CAUSE.received);
    one.regs.rbr.read();
    expect(cause(one)).toBe(CAUSE.transmitterEmpty);
  });

  it('a cause that IER masks is not reported, and comes when it is unmasked', () => {
    const one = uart();
    one.device.inject(0x41);
    expect(cause(one)).toBe(CAUSE.none);
    one.regs.ier.write({ received: true });
    expect(one.irq.level).toBe(true);
    one.regs.ier.write(0);
    expect(one.irq.level).toBe(false);
  });

  it('OUT2 gates the line and not IIR', () => {
    const one = uart();
    one.regs.mcr.write(0);
    one.regs.ier.write({ transmitterEmpty: true });
    expect(one.irq.level).toBe(false);
    expect(one.regs.iir.peek() & 0x0f).toBe(CAUSE.transmitterEmpty);
    one.regs.mcr.write({ out2: true });
    expect(one.irq.level).toBe(true);
  });

  it('the line falls with the read that removes its cause', () => {
    const one = uart();
    one.regs.ier.write({ lineStatus: true, modemStatus: true });
    one.device.inject(0x41, { framing: true });
    expect(one.irq.level).toBe(true);
    one.regs.lsr.read();
    expect(one.irq.level).toBe(false);
    one.device.setModemInputs({ cts: false, dsr: true, ri: false, dcd: true });
    expect(one.irq.level).toBe(true);
    one.regs.msr.read();
    expect(one.irq.level).toBe(false);
  });
});

describe('an empty transmitter', () => {
  it('ACRN #3048: is reported once, with its interrupt left enabled', () => {
    const one = uart();
    one.regs.ier.write({ transmitterEmpty: true });
    expect(one.irq.level).toBe(true);
    expect(cause(one)).toBe(CAUSE.transmitterEmpty);
    for (let i = 0; i < 100; i++) {
      expect(one.irq.level).toBe(false);
      expect(cause(one)).toBe(CAUSE.none);
      one.regs.lsr.read();
      one.regs.ier.write({ transmitterEmpty: true });
    }
    expect(one.irq.raised).toBe(1);
  });

  it('ACRN #3211: interrupts when the interrupt is enabled, with nothing written before', () => {
    const one = uart();
    one.regs.ier.write({ transmitterEmpty: true });
    expect(one.irq.level).toBe(true);
    cause(one);
    one.regs.ier.write(0);
    one.regs.ier.write({ transmitterEmpty: true });
    expect(one.irq.level).toBe(true);
  });

  it('ACRN #3423: interrupts the writer again for every byte that has left', () => {
    const console = memoryConsole();
    const one = uart({ console });
    one.regs.ier.write({ transmitterEmpty: true });
    for (const byte of Buffer.from('hang?')) {
      expect(cause(one)).toBe(CAUSE.transmitterEmpty);
      expect(one.irq.level).toBe(false);
      one.regs.thr.write(byte);
      expect(one.irq.level).toBe(true);
    }
    expect(console.output).toBe('hang?');
  });

  it('gives an edge for each byte also to a guest that does not read IIR', () => {
    const one = uart();
    one.regs.ier.write({ transmitterEmpty: true });
    expect(one.irq.raised).toBe(1);
    one.regs.thr.write(0x41);
    expect(one.irq.raised).toBe(2);
  });

  it('peeking at IIR acknowledges nothing', () => {
    const one = uart();
    one.regs.ier.write({ transmitterEmpty: true });
    expect(one.regs.iir.peek()).toBe(CAUSE.transmitterEmpty);
    expect(one.regs.iir.peek()).toBe(CAUSE.transmitterEmpty);
    expect(one.irq.level).toBe(true);
  });
});

describe('the character timeout', () => {
  /** 8n1 at 9600 baud: 10 bits. */
  const CHARACTER = (1000 * 10) / 9600;
  const below = (config: Config = {}) => {
    const one = uart(config);
    one.regs.lcr.write(0x03);
    one.regs.fcr.write(0xc1);
    one.regs.ier.write({ received: true });
    one.device.inject(0x41);
    return one;
  };

  it('interrupts 4 character times after the last character', () => {
    const one = below();
    expect(one.irq.level).toBe(false);
    one.clock.advance(3.9 * CHARACTER);
    expect(one.irq.level).toBe(false);
    one.clock.advance(0.2 * CHARACTER);
    expect(one.irq.level).toBe(true);
    expect(one.regs.iir.read()).toBe(0xc0 | CAUSE.timeout);
    expect(one.regs.rbr.read()).toBe(0x41);
    expect(one.irq.level).toBe(false);
  });

  it('starts again with each character and each read', () => {
    const one = below();
    one.clock.advance(3 * CHARACTER);
    one.device.inject(0x42);
    one.device.inject(0x43);
    one.clock.advance(3 * CHARACTER);
    expect(one.irq.level).toBe(false);
    one.regs.rbr.read();
    one.clock.advance(3 * CHARACTER);
    expect(one.irq.level).toBe(false);
    one.clock.advance(1.1 * CHARACTER);
    expect(cause(one)).toBe(CAUSE.timeout);
    one.regs.rbr.read();
    expect(one.irq.level).toBe(false);
    one.clock.advance(4.1 * CHARACTER);
    expect(cause(one)).toBe(CAUSE.timeout);
  });

  it('is taken back by a read or an emptied receiver, not by another character', () => {
    const one = below();
    one.clock.advance(5 * CHARACTER);
    one.device.inject(0x42);
    expect(cause(one)).toBe(CAUSE.timeout);
    expect(one.irq.level).toBe(true);
    one.regs.rbr.read();
    expect(one.irq.level).toBe(false);
    one.clock.advance(5 * CHARACTER);
    one.regs.fcr.write(0xc3);
    expect(one.irq.level).toBe(false);
  });

  it('is not reported at the trigger level, which is', () => {
    const one = below();
    for (let i = 1; i < 14; i++) one.device.inject(i);
    expect(cause(one)).toBe(CAUSE.received);
    one.regs.rbr.read();
    expect(cause(one)).toBe(CAUSE.none);
    one.clock.advance(5 * CHARACTER);
    expect(cause(one)).toBe(CAUSE.timeout);
  });

  it('does not exist without FIFOs, nor over an empty one', () => {
    const one = below();
    one.regs.rbr.read();
    one.clock.advance(100);
    expect(one.irq.level).toBe(false);
    one.regs.fcr.write(0);
    one.device.inject(0x41);
    expect(cause(one)).toBe(CAUSE.received);
    one.regs.rbr.read();
    one.clock.advance(100);
    expect(cause(one)).toBe(CAUSE.none);
  });

  it.each([
    { lcr: 0x03, divisor: 1, clockHz: 1_843_200, ms: 4 * (10 / 115.2) },
    { lcr: 0x00, divisor: 12, clockHz: 1_843_200, ms: 4 * (7 / 9.6) },
    { lcr: 0x04, divisor: 12, clockHz: 1_843_200, ms: 4 * (7.5 / 9.6) },
    { lcr: 0x0f, divisor: 12, clockHz: 1_843_200, ms: 4 * (12 / 9.6) },
    { lcr: 0x03, divisor: 0x180, clockHz: 1_843_200, ms: 4 * (10 / 0.3) },
    { lcr: 0x03, divisor: 1, clockHz: 16_000, ms: 40 },
  ])('follows format, divisor and clock: $lcr, $divisor, $clockHz', ({ lcr, divisor, clockHz, ms }) => {
    const one = uart({ clockHz });
    one.regs.lcr.write(0x80);
    one.regs.dll.write(divisor & 0xff);
    one.regs.dlm.write(divisor >> 8);
    one.regs.lcr.write(lcr);
    one.regs.fcr.write(0xc1);
    one.device.inject(0x41);
    expect(one.device.state.timeout.deadline).toBeCloseTo(ms, 9);
  });

  it('keeps time with a divisor of 0', () => {
    const one = uart();
    one.regs.lcr.write(0x80);
    one.regs.dll.write(0);
    one.regs.lcr.write(0x03);
    one.regs.fcr.write(0xc1);
    one.device.inject(0x41);
    expect(one.device.state.timeout.deadline).toBeGreaterThan(0);
  });

  it("comes at once with timeout: 'immediate'", () => {
    const one = below({ timeout: 'immediate' });
    expect(cause(one)).toBe(CAUSE.timeout);
    one.device.inject(0x42);
    one.regs.rbr.read();
    expect(cause(one)).toBe(CAUSE.timeout);
    one.regs.rbr.read();
    expect(cause(one)).toBe(CAUSE.none);
  });

  it('is saved as its deadline', () => {
    const one = below();
    one.clock.advance(3 * CHARACTER);
    const saved = one.save();
    const other = uart();
    other.restore(saved);
    other.clock.advance(0.9 * CHARACTER);
    expect(other.irq.level).toBe(false);
    other.clock.advance(0.2 * CHARACTER);
    expect(other.irq.level).toBe(true);
  });
});
