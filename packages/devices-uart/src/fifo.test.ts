// Rules 4 to 6: FIFOs, overrun, errors, loopback and modem lines.
import { drive } from '@trapline/core/testing';
import { describe, expect, it } from 'vitest';
import { memoryConsole, Uart16550 } from './index.js';
import { LSR, MODEM } from './spec.js';

type Config = Partial<Parameters<typeof drive<typeof Uart16550>>[1]>;

function uart(config: Config = {}) {
  const t = drive(Uart16550, config);
  const { regs } = t.guest;
  /** Everything in the receiver, as long as LSR says there is something. */
  const drain = () => {
    const got: number[] = [];
    while (regs.lsr.peek() & LSR.dataReady) got.push(regs.rbr.read());
    return got;
  };
  return { ...t, irq: t.irq, regs, drain };
}
const upTo = (count: number) => Array.from({ length: count }, (_, i) => i + 1);

describe('the FIFOs', () => {
  it('show in IIR bits 7 and 6 while they are on', () => {
    const { regs } = uart();
    expect(regs.iir.read() & 0xc0).toBe(0);
    regs.fcr.write({ enable: true });
    expect(regs.iir.read() & 0xc0).toBe(0xc0);
    regs.fcr.write(0);
    expect(regs.iir.read() & 0xc0).toBe(0);
  });

  it('are 16 bytes deep, 1 while off', () => {
    const one = uart();
    for (const byte of upTo(20)) one.device.inject(byte);
    expect(one.drain()).toEqual([20]);
    one.regs.fcr.write({ enable: true });
    for (const byte of upTo(20)) one.device.inject(byte);
    expect(one.drain()).toEqual(upTo(16));
  });

  it.each(['8250', '16450'] as const)('the %s has none', (compat) => {
    const one = uart({ compat });
    one.regs.fcr.write(0xff);
    expect(one.regs.iir.read() & 0xf0).toBe(0);
    for (const byte of upTo(3)) one.device.inject(byte);
    expect(one.drain()).toEqual([3]);
  });

  it.each([
    [0, 1],
    [1, 4],
    [2, 8],
    [3, 14],
  ])('trigger %i interrupts at %i bytes', (trigger, level) => {
    const one = uart();
    one.regs.mcr.write({ out2: true });
    one.regs.ier.write({ received: true });
    one.regs.fcr.write({ enable: true, trigger });
    for (const byte of upTo(level - 1)) one.device.inject(byte);
    expect(one.irq.level).toBe(false);
    one.device.inject(0xff);
    expect(one.irq.level).toBe(true);
    one.regs.rbr.read();
    expect(one.irq.level).toBe(false);
  });

  it('are emptied where they are turned on or off, not where they stay on', () => {
    const one = uart();
    one.device.inject(1);
    one.regs.fcr.write({ enable: true });
    expect(one.drain()).toEqual([]);
    one.device.inject(2);
    one.regs.fcr.write({ enable: true, trigger: 3 });
    expect(one.drain()).toEqual([2]);
    one.device.inject(3);
    one.regs.fcr.write(0);
    expect(one.drain()).toEqual([]);
    one.device.inject(4);
    one.regs.fcr.write(0);
    expect(one.drain()).toEqual([4]);
  });

  it('are emptied by the reset bits, which clear themselves', () => {
    const one = uart();
    one.regs.fcr.write({ enable: true });
    one.device.inject(1, { parity: true });
    one.regs.fcr.write({ enable: true, resetReceiver: true });
    expect(one.drain()).toEqual([]);
    expect(one.regs.lsr.read()).toBe(0x60);
    expect(one.device.regs.fcr.value).toBe(0x01);
    one.device.inject(2);
    expect(one.drain()).toEqual([2]);
  });

  it('FCR with bit 0 clear programs nothing else', () => {
    const one = uart();
    one.regs.fcr.write({ enable: true, trigger: 2 });
    one.regs.fcr.write({ trigger: 3, resetReceiver: true, dmaMode: true });
    expect(one.device.regs.fcr.value).toBe(0x80);
    one.device.inject(1);
    one.regs.fcr.write({ resetReceiver: true });
    expect(one.drain()).toEqual([1]);
  });

  it('the transmitter can be emptied, and says so', () => {
    const console = memoryConsole({ highWaterMark: 1 });
    const one = uart({ console });
    console.hold();
    one.regs.fcr.write({ enable: true });
    one.regs.ier.write({ transmitterEmpty: true });
    for (const byte of upTo(5)) one.regs.thr.write(byte);
    one.regs.iir.read();
    expect(one.regs.lsr.read() & LSR.holdingEmpty).toBe(0);
    one.regs.fcr.write({ enable: true, resetTransmitter: true });
    expect(one.regs.lsr.read() & 0x60).toBe(0x60);
    expect(one.regs.iir.read() & 0x0f).toBe(0x02);
  });
});

describe('overrun', () => {
  it('with FIFOs loses the new byte and keeps the others', () => {
    const one = uart();
    one.regs.fcr.write({ enable: true });
    for (const byte of upTo(17)) one.device.inject(byte);
    expect(one.regs.lsr.read() & LSR.overrun).toBe(LSR.overrun);
    expect(one.regs.lsr.read() & LSR.overrun).toBe(0);
    expect(one.drain()).toEqual(upTo(16));
  });

  it('without FIFOs loses the old byte', () => {
    const one = uart();
    one.device.inject(1);
    expect(one.regs.lsr.peek() & LSR.overrun).toBe(0);
    one.device.inject(2);
    expect(one.regs.lsr.read() & LSR.overrun).toBe(LSR.overrun);
    expect(one.regs.rbr.read()).toBe(2);
    expect(one.regs.lsr.read()).toBe(0x60);
  });

  it('is not a FIFO error', () => {
    const one = uart();
    one.regs.fcr.write({ enable: true });
    for (const byte of upTo(17)) one.device.inject(byte);
    expect(one.regs.lsr.read() & LSR.fifoError).toBe(0);
  });
});

describe('line errors', () => {
  it('show when their character is next, and in LSR bit 7 from the start', () => {
    const one = uart();
    one.regs.fcr.write({ enable: true });
    one.device.inject(1);
    one.device.inject(2, { parity: true });
    one.device.inject(0, { break: true, framing: true });
    expect(one.regs.lsr.read() & 0x9e).toBe(LSR.fifoError);
    expect(one.regs.rbr.read()).toBe(1);
    expect(one.regs.lsr.read() & 0x9e).toBe(LSR.fifoError | LSR.parity);
    expect(one.regs.lsr.read() & 0x9e).toBe(LSR.fifoError);
    expect(one.regs.rbr.read()).toBe(2);
    expect(one.regs.lsr.read() & 0x9e).toBe(LSR.fifoError | LSR.break | LSR.framing);
    expect(one.regs.lsr.read() & 0x9e).toBe(0);
    expect(one.regs.rbr.read()).toBe(0);
  });

  it('without FIFOs leave LSR bit 7 alone', () => {
    const one = uart();
    one.device.inject(1, { framing: true });
    expect(one.regs.lsr.read()).toBe(0x60 | LSR.dataReady | LSR.framing);
  });

  it('peeking clears nothing', () => {
    const one = uart();
    one.device.inject(1, { parity: true });
    expect(one.regs.lsr.peek()).toBe(one.regs.lsr.peek());
    expect(one.regs.lsr.read() & LSR.parity).toBe(LSR.parity);
  });
});

describe('the receiver buffer', () => {
  it('peeks at the next byte and leaves it there', () => {
    const one = uart();
    one.device.inject(0x41);
    expect(one.regs.rbr.peek()).toBe(0x41);
    expect(one.regs.rbr.read()).toBe(0x41);
    expect(one.regs.lsr.read() & LSR.dataReady).toBe(0);
  });

  it('reads as the last byte while it is empty', () => {
    const one = uart();
    expect(one.regs.rbr.read()).toBe(0);
    one.device.inject(0x41);
    one.regs.rbr.read();
    expect([one.regs.rbr.peek(), one.regs.rbr.read()]).toEqual([0x41, 0x41]);
  });
});

describe('loopback', () => {
  it('sends to the receiver and not to the console', () => {
    const console = memoryConsole();
    const one = uart({ console });
    one.regs.mcr.write({ loop: true });
    one.regs.thr.write(0x5a);
    expect(one.drain()).toEqual([0x5a]);
    expect(console.output).toBe('');
  });

  it('cuts the receiver off from the console, and gives it back', () => {
    const console = memoryConsole();
    const one = uart({ console });
    one.regs.mcr.write({ loop: true });
    console.type('x');
    expect(one.drain()).toEqual([]);
    one.regs.mcr.write(0);
    expect(one.drain()).toEqual([0x78]);
  });

  it('has the true depth and overruns', () => {
    const one = uart();
    one.regs.fcr.write({ enable: true });
    one.regs.mcr.write({ loop: true });
    for (const byte of upTo(40)) one.regs.thr.write(byte);
    expect(one.regs.lsr.read() & LSR.overrun).toBe(LSR.overrun);
    expect(one.drain()).toEqual(upTo(16));
  });

  it('interrupts, still gated by OUT2', () => {
    const one = uart();
    one.regs.ier.write({ received: true });
    one.regs.mcr.write({ loop: true });
    one.regs.thr.write(1);
    expect(one.irq.level).toBe(false);
    one.regs.mcr.write({ loop: true, out2: true });
    expect(one.irq.level).toBe(true);
  });

  it('times out like any other reception', () => {
    const one = uart();
    one.regs.fcr.write(0xc1);
    one.regs.mcr.write({ loop: true });
    one.regs.thr.write(1);
    expect(one.device.state.timeout.armed).toBe(true);
  });

  it('takes what the console has held back', () => {
    const console = memoryConsole({ highWaterMark: 1 });
    console.hold();
    const one = uart({ console });
    one.regs.fcr.write({ enable: true });
    for (const byte of upTo(3)) one.regs.thr.write(byte);
    one.regs.mcr.write({ loop: true });
    expect(one.drain()).toEqual([2, 3]);
  });

  it.each([
    ['rts', 'cts'],
    ['dtr', 'dsr'],
    ['out1', 'ri'],
    ['out2', 'dcd'],
  ] as const)('maps %s to %s', (output, input) => {
    const { regs } = uart();
    regs.mcr.write({ loop: true, [output]: true });
    expect(regs.msr.read() & 0xf0).toBe(MODEM[input]);
    expect(regs.msr.fields()[input]).toBe(true);
  });
});

describe('modem lines', () => {
  const quiet = { cts: true, dsr: true, ri: false, dcd: true };

  it.each([
    ['cts', 0x01],
    ['dsr', 0x02],
    ['dcd', 0x08],
  ] as const)('a change of %s leaves the delta %i, both ways', (line, delta) => {
    const one = uart();
    one.device.setModemInputs({ ...quiet, [line]: false });
    expect(one.regs.msr.read() & 0x0f).toBe(delta);
    expect(one.regs.msr.read() & 0x0f).toBe(0);
    one.device.setModemInputs(quiet);
    expect(one.regs.msr.read() & 0x0f).toBe(delta);
  });

  it('RI leaves a delta when it falls only', () => {
    const one = uart();
    one.device.setModemInputs({ ...quiet, ri: true });
    expect(one.regs.msr.read()).toBe(0xf0);
    one.device.setModemInputs(quiet);
    expect(one.regs.msr.read()).toBe(0xb4);
    expect(one.regs.msr.read()).toBe(0xb0);
  });

  it('deltas add up until they are read', () => {
    const one = uart();
    one.device.setModemInputs({ ...quiet, cts: false });
    // CTS keeps its level: only an old delta can still show it.
    one.device.setModemInputs({ ...quiet, cts: false, dsr: false });
    expect(one.regs.msr.read()).toBe(0x80 | 0x03);
  });

  it('a DSR delta alone interrupts', () => {
    const one = uart();
    one.regs.mcr.write({ out2: true });
    one.regs.ier.write({ modemStatus: true });
    one.device.setModemInputs({ ...quiet, dsr: false });
    expect(one.irq.level).toBe(true);
  });

  it('the pins come back when loopback ends', () => {
    const one = uart();
    one.regs.mcr.write({ loop: true });
    expect(one.regs.msr.read()).toBe(0x0b);
    one.device.setModemInputs({ ...quiet, dcd: false });
    expect(one.regs.msr.read()).toBe(0);
    one.regs.mcr.write(0);
    expect(one.regs.msr.read()).toBe(0x33);
  });
});
