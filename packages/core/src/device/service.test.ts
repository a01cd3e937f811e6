import { describe, expect, it } from 'vitest';
import { drive } from '../testing/drive.js';
import { Device, Mmio, Pio } from './decorators.js';
import { constant, doorbell, latch } from './service.js';

@Device({ type: 'served', summary: 'one of each' })
class Served {
  kicks: number[] = [];
  @Mmio({ base: 0x1000, serve: 'constant' }) readonly id = constant(4, 0x1234_5678);
  @Mmio({ base: 0x1004, serve: 'latch' }) readonly cell = latch(4, 7);
  @Mmio({ base: 0x1008, serve: 'doorbell' }) readonly kick = doorbell(2, (value) => this.kicks.push(value));
}

@Device({ type: 'lying', summary: 'declares what it is not' })
class Lying {
  @Pio({ base: 0x10, serve: 'latch' }) readonly cell = constant(1, 0);
}

describe('served regions', () => {
  it('a constant reads its value in every width and ignores writes', () => {
    const t = drive(Served);
    t.guest.id.write(0, 4, 0);
    expect(t.guest.id.read(0, 4)).toBe(0x1234_5678);
    expect(t.guest.id.read(1, 1)).toBe(0x56);
  });

  it('a latch is shared by guest and device, saved and reset', () => {
    const t = drive(Served);
    t.guest.cell.write(1, 1, 0xab);
    expect(t.device.cell.value).toBe(0xab07);
    const saved = t.save();
    t.device.cell.value = 2 ** 32 - 1;
    expect(t.guest.cell.read(0, 4)).toBe(0xffff_ffff);
    t.restore(saved);
    expect(t.guest.cell.read(0, 4)).toBe(0xab07);
    t.reset();
    expect(t.guest.cell.read(0, 4)).toBe(7);
  });

  it('a doorbell rings once per write to its first byte and reads 0', () => {
    const t = drive(Served);
    t.guest.kick.write(0, 2, 3);
    t.guest.kick.write(1, 1, 9);
    expect(t.device.kicks).toEqual([3]);
    expect(t.guest.kick.read(0, 2)).toBe(0);
  });

  it('counts, and keeps counting while traced', () => {
    const t = drive(Served);
    const seen: number[] = [];
    t.guest.cell.write(0, 4, 1);
    const stop = t.vm.traceOn({ device: 'device' }, (record) => seen.push(record.value));
    t.guest.cell.write(0, 4, 2);
    stop();
    t.guest.cell.write(0, 4, 3);
    expect(seen).toEqual([2]);
    expect(t.vm.counters().find(({ region }) => region === 'cell')?.writes).toBe(3);
  });

  it('a region that declares what its member is not is a problem of the machine', () => {
    expect(() => drive(Lying)).toThrow(/serve: 'latch'/);
  });

  it('refuses a constant that does not fit', () => {
    expect(() => constant(1, 256)).toThrow(/does not fit/);
  });
});
