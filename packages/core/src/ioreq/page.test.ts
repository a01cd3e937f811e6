import { describe, expect, it } from 'vitest';
import { dispatcherRig } from '../../test/ranges.js';
import { PAGE_BYTES, SLOT_COUNT, SLOT_WORDS, STATE, WORD } from './layout.js';
import { IoreqPage } from './page.js';

describe('the I/O request page', () => {
  it('has the offsets of struct acrn_io_request', () => {
    expect({ slot: SLOT_WORDS * 4, slots: SLOT_COUNT, page: PAGE_BYTES }).toEqual({ slot: 256, slots: 16, page: 4096 });
    const bytes = Object.fromEntries(Object.entries(WORD).map(([name, word]) => [name, word * 4]));
    expect(bytes).toEqual({
      type: 0,
      completionPolling: 4,
      direction: 64,
      addressLow: 72,
      addressHigh: 76,
      sizeLow: 80,
      sizeHigh: 84,
      valueLow: 88,
      valueHigh: 92,
      pciBus: 92,
      pciDevice: 96,
      pciFunction: 100,
      pciRegister: 104,
      kernelHandled: 132,
      state: 136,
    });
  });

  it('reads as all PENDING when it is zeroed, so slots start FREE', () => {
    const zeroed = new IoreqPage(new ArrayBuffer(PAGE_BYTES));
    const slots = Array.from({ length: SLOT_COUNT }, (_, slot) => slot);
    expect(slots.every((slot) => zeroed.state(slot) === STATE.PENDING)).toBe(true);
    expect(slots.every((slot) => IoreqPage.create().state(slot) === STATE.FREE)).toBe(true);
  });

  it('refuses a buffer that is too small', () => {
    expect(() => new IoreqPage(new ArrayBuffer(4095))).toThrow(/4096 bytes/);
    expect(() => new IoreqPage(new ArrayBuffer(8192), 4100)).toThrow(/4096 bytes/);
  });

  it.each([
    { type: 'pio', direction: 'write', address: 0x3f8, size: 1, valueLow: 0x41 },
    { type: 'mmio', direction: 'read', address: 0xd000_0004, size: 4, valueLow: 0xffff_ffff },
    { type: 'mmio', direction: 'write', address: 2 ** 53 - 8, size: 8, valueLow: 1, valueHigh: 0x8000_0000 },
    { type: 'pcicfg', direction: 'read', address: 0xcfc, size: 2 },
    { type: 'write-protect', direction: 'write', address: 0xf_0000, size: 4 },
  ] as const)('gives back what was put into a slot: $type $direction at $address', (request) => {
    const page = IoreqPage.create();
    page.encode(15, request);
    expect(page.decode(15)).toMatchObject(request);
    expect(page.state(15)).toBe(STATE.FREE);
  });

  it('shares memory with whoever else looks at it', () => {
    const shared = new SharedArrayBuffer(PAGE_BYTES * 2);
    const page = new IoreqPage(shared, PAGE_BYTES);
    page.encode(0, { type: 'pio', direction: 'write', address: 0x80, size: 1, valueLow: 7 });
    expect(new Uint8Array(shared)[PAGE_BYTES + 88]).toBe(7);
  });

  it('keeps the bus number of a PCI configuration request when its value is answered', () => {
    const rig = dispatcherRig();
    rig.page.i32[WORD.pciBus] = 0x42;
    const answered = rig.request(0, { type: 'pcicfg', direction: 'read', address: 0xcfc, size: 4 });
    expect(answered.valueLow).toBe(0xffff_ffff);
    expect(rig.page.i32[WORD.pciBus]).toBe(0x42);
  });
});
