import { describeDevice, drive } from '@trapline/core/testing';
import { describe, expect, it } from 'vitest';
import { DeviceName } from './device-name.js';

// Random accesses of every width, resets and snapshots: what every device has to stand.
describeDevice(DeviceName, { hz: 1000 });

describe('DeviceName', () => {
  it('expires once, and raises its line until the status is cleared', () => {
    const t = drive(DeviceName, { hz: 1000 });
    t.guest.regs.period.write(20);
    t.guest.regs.ctrl.write({ enable: true });
    t.clock.advance(19);
    expect(t.irq.level).toBe(false);
    t.clock.advance(1);
    expect(t.irq.level).toBe(true);
    expect(t.guest.regs.status.fields()).toEqual({ expired: true });
    t.guest.regs.status.write({ expired: true });
    expect(t.irq.level).toBe(false);
    t.clock.advance(1000);
    expect(t.guest.regs.count.read()).toBe(1);
  });

  it('starts again by itself when it is periodic', () => {
    const t = drive(DeviceName, { hz: 1000 });
    t.guest.regs.period.write(10);
    t.guest.regs.ctrl.write({ enable: true, periodic: true });
    t.clock.advance(55);
    expect(t.guest.regs.count.read()).toBe(5);
  });

  it('goes on where a snapshot left it', () => {
    const t = drive(DeviceName, { hz: 1000 });
    t.guest.regs.period.write(30);
    t.guest.regs.ctrl.write({ enable: true });
    t.clock.advance(10);
    const snapshot = t.save();
    t.reset();
    t.clock.advance(1000);
    expect(t.guest.regs.count.read()).toBe(0);
    t.restore(snapshot);
    t.clock.advance(20);
    expect(t.irq.level).toBe(true);
  });
});
