import { describe, expect, it } from 'vitest';
import type { SimJs } from '../backend/sim-js.js';
import { Device, Mmio } from '../device/decorators.js';
import type { IoHandler } from '../device/handler.js';
import { layout, reg } from '../device/layout.js';
import { registers } from '../device/registers.js';
import { Decoder, type DynamicRegion } from '../device/tokens.js';
import { drive } from '../testing/drive.js';

const CONTROL = layout({ width: 4, regs: { bar: reg(0, { access: 'rw' }), enable: reg(4, { access: 'rw' }) } });

@Device({ type: 'bar', summary: 'a window the guest places' })
class Bar {
  private readonly window: IoHandler = { read: (offset) => 0x40 + offset, write: () => {} };
  @Mmio({ base: 0x1000 }) readonly regs = registers(CONTROL, {
    bar: { write: () => this.place() },
    enable: { write: () => this.place() },
  });
  private readonly region: DynamicRegion;
  constructor(decoder: Decoder) {
    this.region = decoder.region('window', 'mmio', 16, this.window);
  }
  onRestored() {
    this.place();
  }
  onReset() {
    this.place();
  }
  private place() {
    if (this.regs.enable.value === 1) this.region.map(this.regs.bar.value);
    else this.region.unmap();
  }
}

describe('regions the guest programs', () => {
  const read = (t: ReturnType<typeof drive<typeof Bar>>, address: number) =>
    (t.vm.backend as SimJs).cpus[0]?.read('mmio', address, 1);

  it('are decoded only while enabled, and follow their base', () => {
    const t = drive(Bar);
    t.guest.regs.bar.write(0x8000_0000);
    expect(read(t, 0x8000_0001)).toBe(0xff);
    t.guest.regs.enable.write(1);
    expect(read(t, 0x8000_0001)).toBe(0x41);
    t.guest.regs.bar.write(0x9000_0000);
    expect(read(t, 0x8000_0001)).toBe(0xff);
    expect(read(t, 0x9000_0002)).toBe(0x42);
    t.reset();
    expect(read(t, 0x9000_0002)).toBe(0xff);
  });

  it('yield to fixed ranges, with a warning and no error', () => {
    const t = drive(Bar);
    t.guest.regs.bar.write(0xffc);
    t.guest.regs.enable.write(1);
    expect(t.log.some(({ about, message }) => about === 'guest-error' && message.includes('lies under'))).toBe(true);
    expect(read(t, 0xffd)).toBe(0x41);
    expect(t.guest.regs.bar.read()).toBe(0xffc);
    expect(t.failure).toBeUndefined();
  });

  it('come back with a restored state', () => {
    const t = drive(Bar);
    t.guest.regs.bar.write(0x8000_0000);
    t.guest.regs.enable.write(1);
    const saved = t.save();
    t.reset();
    t.restore(saved);
    expect(read(t, 0x8000_0003)).toBe(0x43);
  });
});
