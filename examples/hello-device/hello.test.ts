// A device is tested with no VM: drive() lets the test be the guest, and gives it the interrupt line.
import { describeDevice, drive } from '@trapline/core/testing';
import { describe, expect, it } from 'vitest';
import { Hello } from './hello.js';

describe('the ports', () => {
  it('say who is there', () => {
    const { guest } = drive(Hello);
    expect(guest.port.id.read()).toBe(0x48);
  });

  it('say hello, one byte per read, end with 0 and start over', () => {
    const { guest } = drive(Hello, { greeting: 'Hé' });
    const read = () => guest.port.text.read();
    const hello = [...new TextEncoder().encode('Hé'), 0];
    expect([read(), read(), read(), read()]).toEqual(hello);
    expect([read(), read(), read(), read()]).toEqual(hello);
  });

  it('say it to a debugger without losing their place', () => {
    const { guest } = drive(Hello);
    guest.port.text.read();
    expect(guest.port.text.peek()).toBe(guest.port.text.peek());
    expect(String.fromCharCode(guest.port.text.read())).toBe('y');
  });

  it('say nothing, if that is the greeting', () => {
    const { guest } = drive(Hello, { greeting: '' });
    expect([guest.port.text.read(), guest.port.text.read()]).toEqual([0, 0]);
  });

  it('keep a byte', () => {
    const { guest } = drive(Hello);
    guest.port.scratch.write(0x5a);
    expect(guest.port.scratch.read()).toBe(0x5a);
  });
});

describe('the sum', () => {
  it('adds', () => {
    const { guest } = drive(Hello);
    expect(guest.regs.magic.read()).toBe(0x6f6c6c48);
    guest.regs.add.write(40);
    guest.regs.add.write(2);
    expect(guest.regs.total.read()).toBe(42);
    expect(guest.regs.status.fields()).toEqual({ overflow: false });
  });

  it('wraps at 2^32 and says so, until the guest has seen it', () => {
    const { guest } = drive(Hello);
    guest.regs.add.write(0xffff_ffff);
    guest.regs.add.write(3);
    expect(guest.regs.total.read()).toBe(2);
    expect(guest.regs.status.fields()).toEqual({ overflow: true });
    guest.regs.status.write({ overflow: true });
    expect(guest.regs.status.fields()).toEqual({ overflow: false });
  });

  it('interrupts while it is asked to and there is a reason', () => {
    const { guest, irq } = drive(Hello);
    guest.regs.add.write(0xffff_ffff);
    guest.regs.add.write(1);
    expect(irq.level).toBe(false);
    guest.regs.ctrl.write({ irq: true });
    expect(irq.level).toBe(true);
    guest.regs.status.write({ overflow: true });
    expect(irq.level).toBe(false);
  });
});

it('is saved and restored without a line of code', () => {
  const before = drive(Hello);
  before.guest.port.text.read();
  before.guest.regs.ctrl.write({ irq: true });
  before.guest.regs.add.write(0xffff_ffff);
  before.guest.regs.add.write(8);
  const after = drive(Hello);
  after.restore(before.save());
  expect(after.guest.regs.total.read()).toBe(7);
  expect(after.irq.level).toBe(true);
  expect(String.fromCharCode(after.guest.port.text.read())).toBe('y');
});

// Everything that is true of any device - save and restore, reset, peek, access modes - tried at random.
describeDevice(Hello);
