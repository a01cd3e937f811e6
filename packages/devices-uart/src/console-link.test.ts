// Rule 7: back-pressure both ways, bounded, counted, never in the way of the guest.
import { PassThrough } from 'node:stream';
import { setImmediate as tick } from 'node:timers/promises';
import { hostResource } from '@trapline/core';
import { drive } from '@trapline/core/testing';
import { describe, expect, it } from 'vitest';
import { memoryConsole, Uart16550 } from './index.js';
import { LSR } from './spec.js';

type Config = Partial<Parameters<typeof drive<typeof Uart16550>>[1]>;

function uart(config: Config = {}) {
  const t = drive(Uart16550, config);
  const { regs } = t.guest;
  regs.fcr.write({ enable: true });
  regs.mcr.write({ out2: true });
  const read = (most: number) => {
    const got: number[] = [];
    while (got.length < most && regs.lsr.read() & LSR.dataReady) got.push(regs.rbr.read());
    return Buffer.from(got);
  };
  const send = (text: string) => {
    for (const byte of Buffer.from(text)) regs.thr.write(byte);
  };
  return { ...t, irq: t.irq, regs, read, send };
}

describe('without a console', () => {
  it('discards and counts output, and never waits', () => {
    const one = uart();
    one.send('nobody listens');
    expect(one.regs.lsr.read()).toBe(0x60);
    expect(one.device.stats).toEqual({ received: 0, sent: 0, dropped: { input: 0, output: 14 } });
  });
});

describe('output', () => {
  it('reaches the console byte by byte, any byte', () => {
    const console = memoryConsole();
    const one = uart({ console });
    for (let byte = 0; byte < 256; byte++) one.regs.thr.write(byte);
    expect([...console.bytes]).toEqual(Array.from({ length: 256 }, (_, i) => i));
    expect(one.device.stats.sent).toBe(256);
  });

  it('a full console holds THRE low until it drains, then interrupts', async () => {
    const console = memoryConsole({ highWaterMark: 4 });
    const one = uart({ console });
    one.regs.ier.write({ transmitterEmpty: true });
    console.hold();
    one.send('abcdefgh');
    expect(one.regs.lsr.read() & 0x60).toBe(0);
    one.regs.iir.read();
    expect(one.irq.level).toBe(false);
    console.release();
    await tick();
    expect(console.output).toBe('abcdefgh');
    expect(one.regs.lsr.read() & 0x60).toBe(0x60);
    expect(one.irq.level).toBe(true);
    expect(one.device.stats.dropped.output).toBe(0);
  });

  it('takes 16 bytes more from a guest that waits for THRE, and drops what one that does not sends', async () => {
    const console = memoryConsole({ highWaterMark: 1 });
    const one = uart({ console });
    console.hold();
    one.send(`!${'0123456789abcdef'}lost`);
    expect(one.device.stats.dropped.output).toBe(4);
    console.release();
    await tick();
    expect(console.output).toBe('!0123456789abcdef');
  });

  it('goes on after a reset, full or not', async () => {
    const console = memoryConsole({ highWaterMark: 1 });
    const one = uart({ console });
    console.hold();
    one.send('ab');
    one.reset();
    expect(one.regs.lsr.read() & 0x60).toBe(0x60);
    one.send('cd');
    expect(one.regs.lsr.read() & 0x60).toBe(0);
    console.release();
    await tick();
    expect(console.output).toBe('acd');
    expect(one.regs.lsr.read() & 0x60).toBe(0x60);
  });

  it('restored with a full console onto an idle one, does not wait for ever', () => {
    const full = memoryConsole({ highWaterMark: 1 });
    full.hold();
    const one = uart({ console: full });
    one.send('abc');
    const idle = memoryConsole();
    const other = drive(Uart16550, { console: idle });
    other.restore(one.save());
    expect(idle.output).toBe('bc');
    expect(other.guest.regs.lsr.read() & 0x60).toBe(0x60);
  });

  it('survives a console that fails', async () => {
    const stream = new PassThrough({ highWaterMark: 1 });
    const one = uart({ console: hostResource('broken', () => stream) });
    stream.destroy(new Error('gone'));
    await tick();
    one.send('x');
    expect(one.regs.lsr.read() & 0x60).toBe(0x60);
    expect(one.device.stats.dropped.output).toBe(1);
    expect(one.log.map(({ message }) => message)).toEqual([expect.stringContaining('gone')]);
  });

  it('is bounded also for a guest that resets the chip to get around THRE', () => {
    const console = memoryConsole({ highWaterMark: 1 });
    console.hold();
    const one = uart({ console });
    for (let i = 0; i < 100; i++) {
      one.send('xx');
      one.reset();
    }
    expect(one.device.stats.sent).toBeLessThanOrEqual(101);
  });
});

describe('input', () => {
  it('reaches the guest in order', () => {
    const console = memoryConsole();
    const one = uart({ console });
    console.type('echo hi\n');
    expect(one.read(99).toString()).toBe('echo hi\n');
    expect(one.device.stats.received).toBe(8);
  });

  it('interrupts', () => {
    const console = memoryConsole();
    const one = uart({ console });
    one.regs.ier.write({ received: true });
    console.type('x');
    expect(one.irq.level).toBe(true);
    one.read(1);
    expect(one.irq.level).toBe(false);
  });

  it('typed before the machine ran waits', async () => {
    const console = memoryConsole();
    console.type('early');
    const one = uart({ console });
    await tick();
    expect(one.read(99).toString()).toBe('early');
  });

  it('never overruns: what a slow guest does not read waits, and all of it arrives', async () => {
    const console = memoryConsole();
    const one = uart({ console });
    const text = Buffer.alloc(20_000, 0).map((_, i) => i % 251);
    console.type(text);
    const got: Buffer[] = [];
    for (let i = 0; i < 2000 && Buffer.concat(got).length < text.length; i++) {
      got.push(one.read(99));
      await tick();
    }
    expect(Buffer.concat(got).equals(text)).toBe(true);
    expect(one.regs.lsr.read() & LSR.overrun).toBe(0);
    expect(one.device.stats.dropped.input).toBe(0);
  });

  it('holds the console back while the guest does not read', async () => {
    const stream = new PassThrough({ highWaterMark: 100 });
    const one = uart({ console: hostResource('pipe', () => stream) });
    stream.resume();
    let accepted = 0;
    while (accepted < 100_000 && stream.write(Buffer.alloc(100))) {
      accepted += 100;
      await tick();
    }
    expect(accepted).toBeLessThan(3000);
    expect(one.device.state.backlog.length).toBe(one.device.state.backlog.capacity);
  });

  it('stays in its stream while the machine is paused', async () => {
    const console = memoryConsole();
    const one = uart({ console });
    await one.vm.pause();
    console.type('later');
    await tick();
    expect(one.device.state.rx.length + one.device.state.backlog.length).toBe(0);
    one.vm.resume();
    await tick();
    expect(one.read(99).toString()).toBe('later');
  });

  it('what has arrived and was not read is saved', () => {
    const console = memoryConsole();
    const one = uart({ console });
    console.type('0123456789abcdefXYZ');
    const other = drive(Uart16550);
    other.restore(one.save());
    let text = '';
    while (other.guest.regs.lsr.read() & LSR.dataReady) text += String.fromCharCode(other.guest.regs.rbr.read());
    expect(text).toBe('0123456789abcdefXYZ');
  });

  it("handshake: 'rts' keeps it safe from FIFO resets until the driver is ready", () => {
    const console = memoryConsole();
    const one = uart({ console, handshake: 'rts' });
    console.type('all of it');
    expect(one.read(99).toString()).toBe('');
    one.regs.fcr.write(0x07);
    one.regs.mcr.write({ out2: true, rts: true, dtr: true });
    expect(one.read(99).toString()).toBe('all of it');
  });

  it('comes back after a reset that found the backlog full', async () => {
    const console = memoryConsole();
    const one = uart({ console });
    console.type(Buffer.alloc(3000, 0x61));
    await tick();
    one.reset();
    await tick();
    one.regs.fcr.write({ enable: true });
    expect(one.read(10).length).toBe(10);
  });
});
