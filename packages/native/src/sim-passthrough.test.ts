import { type AccessStream, type MmioDevice, mixRead, type StreamAccess } from '@trapline/core';
import { afterEach, describe, expect, it } from 'vitest';
import { loadNative } from './addon.js';
import { encodeMmioDevice } from './mmio-device.js';
import { type SimBackend, sim } from './sim.js';
import { StubMachine } from './testing/stub-machine.js';

const native = loadNative();
const open: StubMachine[] = [];

const PAGE = 0x1000;
const WB = 0x30;
const RAM = 2 ** 20;
const RAM_AT = 2 ** 38;
const HOST_END = 2 ** 39;
const TPM = 0xfed4_0000;
const GPA = 0xf000_0000;

const ram = { guest: 0, host: RAM_AT, size: RAM, memoryType: WB };
type Resource = MmioDevice['resources'][number];
const region = (guest: number, host: number, size: number, memoryType = 0): Resource => ({
  guest,
  host,
  size,
  memoryType,
});
const device = (...resources: Resource[]): MmioDevice => ({ name: 'tpm2', resources });
const invalid = (what: RegExp) =>
  expect.objectContaining({
    code: 'TL_BACKEND_FAILED',
    message: expect.stringMatching(what),
    details: expect.objectContaining({ errno: 22 }),
  });
const identity = (from: number, to: number, memoryType = WB) => ({
  guest: from,
  host: from,
  size: to - from,
  memoryType,
});

async function machine(streams: readonly AccessStream[] = []): Promise<{ backend: SimBackend; vm: StubMachine }> {
  const guest = { kind: 'stream', streams } as const;
  const backend = await sim().open({ cpus: 1, memory: RAM, guest, log: undefined as never });
  const vm = new StubMachine(backend, () => 0x77);
  open.push(vm);
  return { backend, vm };
}

const mmio = (direction: 'read' | 'write', address: number, size: number, value?: number | 'last'): StreamAccess => ({
  space: 'mmio',
  direction,
  address,
  size,
  ...(value === undefined ? {} : { value }),
});

afterEach(async () => {
  for (const vm of open.splice(0)) await vm.close();
});

describe('struct acrn_mmiodev', () => {
  it('has 104 bytes, three entries, and zeros where nothing is given', () => {
    const bytes = encodeMmioDevice({ name: 'tpm2', resources: [region(0x1_2345_6000, TPM, 0x5000, 0x30)] });
    const view = new DataView(bytes.buffer);
    expect(bytes).toHaveLength(104);
    expect(new TextDecoder().decode(bytes.subarray(0, 8))).toBe('tpm2\0\0\0\0');
    const words = [8, 16, 24, 32].map((at) => view.getBigUint64(at, true));
    expect(words).toEqual([0x1_2345_6000n, BigInt(TPM), 0x5000n, 0x30n]);
    expect(bytes.subarray(40).every((byte) => byte === 0)).toBe(true);
  });

  it('has room for 8 bytes of name and three regions', () => {
    const range = expect.objectContaining({ code: 'TL_RANGE' });
    const one = region(0, 0, 0);
    expect(() => encodeMmioDevice({ name: '123456789', resources: [] })).toThrow(range);
    expect(() => encodeMmioDevice({ name: 'a', resources: [one, one, one, one] })).toThrow(range);
    expect(() => encodeMmioDevice({ name: 'a', resources: [region(-1, 0, 0)] })).toThrow(range);
  });
});

describe.skipIf(!native.addon)('addon: sim: MMIO assignment', () => {
  it('moves a region from the Service VM to the User VM, and back', async () => {
    const { backend } = await machine();
    expect(backend.translations('user')).toEqual([ram]);
    expect(backend.translations('service')).toEqual([identity(0, HOST_END)]);
    const tpm = device(region(GPA, TPM, 5 * PAGE, 0x08));
    backend.assignMmioDevice(tpm);
    expect(backend.translations('user')).toEqual([ram, { guest: GPA, host: TPM, size: 5 * PAGE, memoryType: 0x08 }]);
    expect(backend.translations('service')).toEqual([identity(0, TPM), identity(TPM + 5 * PAGE, HOST_END)]);
    backend.deassignMmioDevice(tpm);
    expect(backend.translations('user')).toEqual([ram]);
    // Back at GPA = HPA, with the device's memory type.
    expect(backend.translations('service')).toEqual([
      identity(0, TPM),
      identity(TPM, TPM + 5 * PAGE, 0x08),
      identity(TPM + 5 * PAGE, HOST_END),
    ]);
  });

  it('gives the guest the memory itself: its accesses do not trap', async () => {
    const accesses = [
      mmio('read', GPA + 4, 4),
      mmio('write', GPA + 8, 4, 'last'),
      mmio('write', GPA + 12, 2, 0xabcd),
      mmio('read', GPA + PAGE - 8, 8),
      mmio('read', GPA + PAGE, 4),
      mmio('read', GPA + PAGE - 2, 4),
    ];
    const { backend, vm } = await machine([{ accesses }]);
    backend.hostMemory.write(TPM + 4, Uint8Array.of(0x11, 0x22, 0x33, 0x44));
    backend.hostMemory.write(TPM + PAGE - 8, Uint8Array.of(1, 2, 3, 4, 5, 6, 7, 8));
    backend.assignMmioDevice(device(region(GPA, TPM, PAGE)));
    backend.run();
    await vm.wait();
    // Behind the page and across its end, they do.
    expect(vm.accesses.map((a) => a.address)).toEqual([GPA + PAGE, GPA + PAGE - 2]);
    expect([...backend.hostMemory.read(TPM + 8, 8)]).toEqual([0x11, 0x22, 0x33, 0x44, 0xcd, 0xab, 0, 0]);
    const values = [
      [0x4433_2211, 0],
      [0x0403_0201, 0x0807_0605],
      [0x77, 0],
      [0x77, 0],
    ] as const;
    const checksum = values.reduce((sum, [low, high]) => mixRead(sum, low, high), 0);
    expect(backend.progress(0)).toMatchObject({ accesses: 6, checksum });
  });

  it('keeps the Service VM out: all ones, and writes go nowhere', async () => {
    const { backend } = await machine();
    backend.serviceWrite(TPM, 4, 0x1234_5678);
    expect(backend.serviceRead(TPM, 4)).toBe(0x1234_5678);
    backend.assignMmioDevice(device(region(GPA, TPM, PAGE)));
    expect([1, 2, 4].map((size) => backend.serviceRead(TPM, size))).toEqual([0xff, 0xffff, 0xffff_ffff]);
    backend.serviceWrite(TPM, 4, 0);
    backend.deassignMmioDevice(device(region(GPA, TPM, PAGE)));
    expect(backend.serviceRead(TPM, 4)).toBe(0x1234_5678);
  });

  it('keeps only bits 3 to 5 of the memory type, and stops a guest that meets a reserved one', async () => {
    const { backend, vm } = await machine([{ accesses: [mmio('read', GPA + 3 * PAGE, 4)] }]);
    backend.assignMmioDevice(
      device(
        region(GPA, TPM, PAGE, 0x40),
        region(GPA + PAGE, TPM + PAGE, PAGE, 0x430),
        region(GPA + 3 * PAGE, TPM + 2 * PAGE, PAGE, 0x18),
      ),
    );
    expect(
      backend
        .translations('user')
        .slice(1)
        .map((run) => run.memoryType),
    ).toEqual([0, 0x30, 0x18]);
    backend.run();
    const { reason, error } = await vm.wait();
    expect(reason).toBe('backend-failed');
    expect(error?.message).toBe('sim: vCPU 0 met an EPT misconfiguration at 0xf0003000: memory type 0x18');
  });

  it('assigns before the first run or after a reset, and de-assigns also while paused', async () => {
    const { backend } = await machine([{ accesses: [mmio('read', 2 ** 30, 4)], count: 2 ** 52, gapMicroseconds: 500 }]);
    const tpm = device(region(GPA, TPM, PAGE));
    backend.assignMmioDevice(tpm);
    backend.run();
    expect(() => backend.deassignMmioDevice(tpm)).toThrow(
      invalid(/^sim: tpm2 cannot be de-assigned: EINVAL \(guest 0xf0000000, host 0xfed40000, size 0x1000, type 0x0\)/),
    );
    expect(() => backend.assignMmioDevice(tpm)).toThrow(invalid(/^sim: tpm2 cannot be assigned: EINVAL/));
    await backend.pause();
    expect(() => backend.assignMmioDevice(tpm)).toThrow(invalid(/EINVAL/));
    expect(backend.translations('user')).toHaveLength(2);
    backend.deassignMmioDevice(tpm);
    expect(backend.translations('user')).toEqual([ram]);
    await backend.reset();
    backend.assignMmioDevice(tpm);
    // The mapping survives a reset.
    await backend.reset();
    expect(backend.translations('user')).toHaveLength(2);
  });

  it('assigns what was assigned before without a word', async () => {
    const { backend } = await machine();
    backend.assignMmioDevice(device(region(GPA, TPM, PAGE)));
    // No longer mapped in the Service VM: skipped there, mapped a second time here.
    backend.assignMmioDevice(device(region(GPA + 4 * PAGE, TPM, PAGE)));
    expect(backend.translations('user').slice(1)).toEqual([
      { guest: GPA, host: TPM, size: PAGE, memoryType: 0 },
      { guest: GPA + 4 * PAGE, host: TPM, size: PAGE, memoryType: 0 },
    ]);
  });

  it('leaves an old mapping where a new one collides with it, also RAM, and says nothing', async () => {
    const { backend } = await machine();
    backend.assignMmioDevice(device(region(GPA + PAGE, TPM, PAGE)));
    backend.assignMmioDevice(device(region(GPA, TPM + 16 * PAGE, 3 * PAGE)));
    expect(backend.translations('user').slice(1)).toEqual([
      { guest: GPA, host: TPM + 16 * PAGE, size: PAGE, memoryType: 0 },
      { guest: GPA + PAGE, host: TPM, size: PAGE, memoryType: 0 },
      { guest: GPA + 2 * PAGE, host: TPM + 18 * PAGE, size: PAGE, memoryType: 0 },
    ]);
    backend.assignMmioDevice(device(region(RAM - PAGE, TPM + 32 * PAGE, 2 * PAGE)));
    expect(backend.translations('user').slice(0, 2)).toEqual([
      ram,
      { guest: RAM, host: TPM + 33 * PAGE, size: PAGE, memoryType: 0 },
    ]);
  });

  it('skips what is not wholly mapped', async () => {
    const { backend } = await machine();
    backend.assignMmioDevice(device(region(GPA, TPM, PAGE)));
    // One of two pages is gone: the other stays with the Service VM.
    backend.assignMmioDevice(device(region(GPA + 8 * PAGE, TPM, 2 * PAGE)));
    expect(backend.serviceRead(TPM + PAGE, 4)).toBe(0);
    // De-assigning what was never assigned gives it to the Service VM, which has it.
    backend.deassignMmioDevice(device(region(GPA + 64 * PAGE, TPM + 2 * PAGE, PAGE)));
    expect(backend.translations('service')).toEqual([identity(0, TPM), identity(TPM + PAGE, HOST_END)]);
    // Beyond all memory there is nothing to take, and it is mapped all the same.
    backend.assignMmioDevice(device(region(GPA + 32 * PAGE, HOST_END, PAGE)));
    expect(backend.translations('user').at(-1)).toEqual(region(GPA + 32 * PAGE, HOST_END, PAGE));
  });

  it('does all three entries, and none for zeros', async () => {
    const { backend } = await machine();
    backend.assignMmioDevice(device());
    backend.assignMmioDevice(device(region(0, 0, 0), region(0, 0, 0), region(0, 0, 0)));
    expect(backend.translations('user')).toEqual([ram]);
    expect(backend.translations('service')).toEqual([identity(0, HOST_END)]);
    const three = [0, 1, 2].map((n) => region(GPA + n * 2 * PAGE, TPM + n * 2 * PAGE, PAGE));
    backend.assignMmioDevice(device(...three));
    expect(backend.translations('user').slice(1)).toEqual(three);
    backend.deassignMmioDevice(device(...three));
    expect(backend.translations('user')).toEqual([ram]);
  });

  it('fails in the middle of a misaligned device and undoes nothing', async () => {
    const { backend } = await machine();
    // A bad size: the first region is gone from the Service VM already, and nothing has come to the User VM.
    const size = device(region(GPA, TPM, PAGE), region(GPA + PAGE, TPM + PAGE, 0x800));
    expect(() => backend.assignMmioDevice(size)).toThrow(invalid(/size 0x800/));
    expect(backend.translations('user')).toEqual([ram]);
    expect(backend.serviceRead(TPM, 4)).toBe(0xffff_ffff);
    // A bad guest address: everything is gone, and the regions before it have come.
    const address = device(region(GPA, TPM + 8 * PAGE, PAGE), region(GPA + 0x10, TPM + 9 * PAGE, PAGE));
    expect(() => backend.assignMmioDevice(address)).toThrow(invalid(/guest 0xf0000010/));
    expect(backend.translations('user').slice(1)).toEqual([region(GPA, TPM + 8 * PAGE, PAGE)]);
    expect(backend.serviceRead(TPM + 9 * PAGE, 4)).toBe(0xffff_ffff);
    // De-assigning with the bad entries zeroed brings back the rest.
    backend.deassignMmioDevice(device(region(0, 0, 0), region(GPA + PAGE, TPM + 9 * PAGE, PAGE)));
    backend.deassignMmioDevice(device(region(GPA + 8 * PAGE, TPM, PAGE), region(GPA, TPM + 8 * PAGE, PAGE)));
    expect(backend.translations('user')).toEqual([ram]);
    expect([TPM, TPM + 8 * PAGE, TPM + 9 * PAGE].map((at) => backend.serviceRead(at, 4))).toEqual([0, 0, 0]);
  });

  it('shows guest RAM as part of host memory', async () => {
    const { backend, vm } = await machine([{ accesses: [mmio('write', 0x2000, 4, 0xcafe_f00d)] }]);
    backend.run();
    await vm.wait();
    expect(vm.accesses).toEqual([]);
    expect(backend.memory.readU32(0x2000)).toBe(0xcafe_f00d);
    expect([...backend.hostMemory.read(RAM_AT + 0x2000, 4)]).toEqual([0x0d, 0xf0, 0xfe, 0xca]);
    backend.hostMemory.write(RAM_AT + 0x3000 - 1, Uint8Array.of(1, 2));
    expect([...backend.memory.read(0x2fff, 2)]).toEqual([1, 2]);
  });
});
