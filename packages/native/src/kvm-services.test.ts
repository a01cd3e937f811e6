// What is served without JavaScript on a real vCPU, through a machine that was started.
import { readdirSync, readlinkSync, writeSync } from 'node:fs';
import {
  type Backend,
  type BackendProvider,
  constant,
  Device,
  defineMachine,
  doorbell,
  type IoHandler,
  latch,
  Mmio,
  Pio,
  RegionMemory,
  start,
  use,
} from '@trapline/core';
import { describe, expect, it, vi } from 'vitest';
import { kvm } from './kvm.js';
import { ENTRY, HALT, HANDLER, out, pics, prepareProtectedMode, protectedMode, SPIN } from './testing/guest-code.js';
import { hostHoldings, StubMachine } from './testing/stub-machine.js';

const { available } = await kvm().probe();
/** Guest-physical, in the hole that no RAM reaches. */
const WINDOW = 0xd000_0000;

const delay = (ms: number) => new Promise((resolve) => setTimeout(resolve, ms));

@Device({ type: 'served', summary: 'one of each' })
class Served {
  readonly heard: string[] = [];
  /** What had been heard when the trapped region was read. */
  heardBefore: string[] | undefined;
  @Pio({ base: 0x40, serve: 'constant' }) readonly id = constant(1, 0x5a);
  @Pio({ base: 0x44, serve: 'latch' }) readonly cell = latch(4, 7);
  @Pio({ base: 0x48, serve: 'doorbell' }) readonly bell = doorbell(1, (value) => this.heard.push(`bell ${value}`));
  @Pio({ base: 0x4c, serve: 'doorbell' }) readonly kernel = doorbell(2, (value) => this.heard.push(`pio ${value}`), {
    match: 0x1234,
  });
  @Mmio({ base: WINDOW, serve: 'doorbell' }) readonly mmio = doorbell(1, (value) => this.heard.push(`mmio ${value}`), {
    match: 5,
  });
  @Pio({ base: 0x50, size: 1 }) readonly trapped: IoHandler = {
    read: () => {
      this.heardBefore = [...this.heard];
      return 0;
    },
    write: () => {},
  };
}

/** Eventfds of this process. */
function eventfds(): number {
  const links = readdirSync('/proc/self/fd').map((fd) => {
    try {
      return readlinkSync(`/proc/self/fd/${fd}`);
    } catch {
      // The one that readdir itself had.
      return '';
    }
  });
  return links.filter((link) => link.includes('[eventfd]')).length;
}

/** Waits as long as the test may take. */
const eventually = (check: () => void) => vi.waitFor(check, { timeout: 100_000, interval: 2 });

/** A machine with the device above, and its backend. */
async function machine(code: readonly number[]) {
  const bytes = new Uint8Array(0x3000);
  const image = new RegionMemory([{ base: 0, bytes }]);
  prepareProtectedMode(image, 0x41, HALT);
  image.write(ENTRY, Uint8Array.from(code));
  let backend: Backend | undefined;
  const from = kvm();
  const provider: BackendProvider = {
    ...from,
    open: async (config) => {
      backend = await from.open(config);
      return backend;
    },
  };
  const guest = { kind: 'flat', address: ENTRY, image: () => bytes.subarray(ENTRY) } as const;
  const vm = await start(defineMachine({ memory: '1M', devices: { dev: use(Served) }, guest }), { backend: provider });
  if (!backend) throw new Error('nothing was opened');
  const { memory, ioreq } = backend;
  return {
    vm,
    memory,
    device: vm.devices.dev,
    /** Requests that JavaScript has seen, ever. */
    requests: () => ioreq?.generation(0) ?? -1,
    counters: (region: string) => vm.counters().find((row) => row.region === region),
  };
}

/** `out 4ch, ax` after `mov ax, value`. */
const outWord = (value: number) => [0xb8, value & 0xff, value >> 8, 0xe7, 0x4c];
/** The same in protected mode. */
const outWord32 = (value: number) => [0x66, 0xb8, value & 0xff, value >> 8, 0x66, 0xe7, 0x4c];
const TRAPPED_READ = [0xe4, 0x50];

describe.skipIf(!available)('kvm: native service', () => {
  it('serves a constant and a latch with no request', async () => {
    const m = await machine([
      ...[0xe4, 0x40, 0xa2, 0x00, 0x30], // in al, 40h; mov [3000h], al
      ...[0x66, 0xe5, 0x44, 0x66, 0xa3, 0x04, 0x30], // in eax, 44h; mov [3004h], eax
      ...[0x66, 0xb8, 0xef, 0xcd, 0xab, 0x89, 0x66, 0xe7, 0x44], // mov eax, 89abcdefh; out 44h, eax
      ...[0xe4, 0x46, 0xa2, 0x08, 0x30], // in al, 46h; mov [3008h], al
      ...TRAPPED_READ,
      ...HALT,
    ]);
    await eventually(() => expect(m.device.heardBefore).toEqual([]));
    expect(m.requests()).toBe(1);
    expect(m.memory.readU8(0x3000)).toBe(0x5a);
    expect(m.memory.readU32(0x3004)).toBe(7);
    expect(m.memory.readU8(0x3008)).toBe(0xab);
    expect(m.device.cell.value).toBe(0x89ab_cdef);
    expect(m.counters('id')).toMatchObject({ reads: 1, writes: 0, bytesRead: 1 });
    expect(m.counters('cell')).toMatchObject({ reads: 2, writes: 1, bytesRead: 5, bytesWritten: 4 });
    await m.vm.close();
  });

  it('rings doorbells in order, and none is overtaken by a trapped access of its device', async () => {
    const m = await machine(
      protectedMode([
        ...[3, 1, 2].flatMap((value) => out(0x48, value)),
        ...[...outWord32(0x1234), ...outWord32(0x1234), ...outWord32(0x9999), ...out(0x4c, 0x34)],
        ...[0xb0, 5, 0xa2, 0, 0, 0, 0xd0, 0xb0, 6, 0xa2, 0, 0, 0, 0xd0], // mov al, 5; mov [WINDOW], al; the same with 6
        ...TRAPPED_READ,
        ...HALT,
      ]),
    );
    await eventually(() => expect(m.device.heardBefore).toBeDefined());
    expect(m.device.heardBefore?.filter((what) => what.startsWith('bell'))).toEqual(['bell 3', 'bell 1', 'bell 2']);
    expect(new Set(m.device.heardBefore)).toEqual(new Set(['bell 3', 'bell 1', 'bell 2', `pio ${0x1234}`, 'mmio 5']));
    expect(m.requests()).toBe(1);
    // Writes that KVM has swallowed are counted by its eventfd, the others by the vCPU's thread.
    expect(m.counters('bell')).toMatchObject({ writes: 3, bytesWritten: 3 });
    expect(m.counters('kernel')).toMatchObject({ writes: 4, bytesWritten: 7 });
    expect(m.counters('mmio')).toMatchObject({ writes: 2, bytesWritten: 2 });
    await m.vm.close();
  });

  it('hears a kick while nothing else happens', async () => {
    const m = await machine([...outWord(0x1234), ...SPIN]);
    await eventually(() => expect(m.device.heard).toEqual([`pio ${0x1234}`]));
    expect(m.requests()).toBe(0);
    await m.vm.close();
  });

  it('leaves to JavaScript what is traced, and takes it back', async () => {
    const before = eventfds();
    // mov ax, 1234h; again: out 4ch, ax; in al, 40h; jmp again. AL is 5ah from the second time on: mov al, 34h.
    const m = await machine([...outWord(0x1234), 0xe4, 0x40, 0xb0, 0x34, 0xe7, 0x4c, 0xeb, 0xf8]);
    const open = eventfds();
    await eventually(() => expect(m.device.heard.length).toBeGreaterThan(2));
    expect(m.requests()).toBe(0);
    const seen: number[] = [];
    const stop = m.vm.traceOn({ device: 'dev' }, (record) => seen.push(record.address));
    expect(eventfds()).toBe(open - 2);
    const heard = m.device.heard.length;
    await eventually(() => expect(seen.length).toBeGreaterThan(20));
    expect(new Set(seen)).toEqual(new Set([0x40, 0x4c]));
    expect(m.device.heard.length).toBeGreaterThan(heard + 5);
    stop();
    expect(eventfds()).toBe(open);
    // At most the one that was under way is still a request.
    await delay(20);
    const requests = m.requests();
    expect(requests).toBeGreaterThan(20);
    const { reads } = m.counters('id') ?? { reads: 0 };
    await delay(20);
    expect(m.requests()).toBe(requests);
    expect(m.counters('id')?.reads).toBeGreaterThan(reads);
    await m.vm.close();
    expect(eventfds()).toBe(before);
  });

  it('ends with the device that is detached while the guest uses it', async () => {
    const m = await machine([...outWord(0x1234), 0xe4, 0x40, 0xa2, 0x00, 0x30, 0xb0, 0x34, 0xe7, 0x4c, 0xeb, 0xf5]);
    const open = eventfds();
    const unclaimed = new Set<number>();
    m.vm.on('access:unclaimed', ({ address }) => unclaimed.add(address));
    await eventually(() => expect(m.device.heard.length).toBeGreaterThan(2));
    expect(m.memory.readU8(0x3000)).toBe(0x5a);
    await m.vm.detach('dev');
    const heard = m.device.heard.length;
    expect(eventfds()).toBe(open - 2);
    await eventually(() => expect(unclaimed).toEqual(new Set([0x40, 0x4c])));
    await eventually(() => expect(m.memory.readU8(0x3000)).toBe(0xff));
    expect(m.device.heard).toHaveLength(heard);
    await m.vm.close();
  });

  it('loses no kick to a pause', async () => {
    const m = await machine([...outWord(0x1234), ...SPIN]);
    await m.vm.pause();
    // Either the guest has come so far, and then it was heard, or it has not.
    const early = m.device.heard.length;
    await delay(20);
    expect(m.device.heard).toHaveLength(early);
    m.vm.resume();
    await eventually(() => expect(m.device.heard).toEqual([`pio ${0x1234}`]));
    await m.vm.close();
  });

  it('is left to the vCPU thread where KVM does not take a doorbell', async () => {
    // mov ax, 1234h; out 4ch, ax; in al, 10h; the same again
    const code = [...outWord(0x1234), 0xe4, 0x10, ...outWord(0x1234), 0xe4, 0x10, ...HALT];
    const vm = await StubMachine.open(kvm(), code, () => undefined);
    const route = {
      service: 'doorbell',
      space: 'pio',
      base: 0x4c,
      size: 2,
      widths: 7,
      value: 0,
      match: 0x1234,
    } as const;
    const before = eventfds();
    const first = vm.backend.ioreq?.route?.(route);
    // KVM has one already that says the same.
    const second = vm.backend.ioreq?.route?.(route);
    expect(eventfds()).toBe(before + 1);
    vm.backend.run();
    await vm.seen(1);
    expect([first?.takeKick(), first?.takeKick(), second?.takeKick()]).toEqual([0x1234, -1, -1]);
    first?.remove();
    expect(eventfds()).toBe(before);
    const [read] = vm.accesses;
    expect(read && vm.answer(read, 0)).toBe(true);
    await vm.seen(2);
    expect([first?.takeKick(), second?.takeKick()]).toEqual([-1, 0x1234]);
    expect(second?.counters.writes).toBe(1);
    await vm.close();
  });

  it('leaves nothing behind', async () => {
    const life = async () => {
      const m = await machine([...outWord(0x1234), ...SPIN]);
      await eventually(() => expect(m.device.heard).toHaveLength(1));
      await m.vm.close();
    };
    await life();
    const before = hostHoldings();
    for (let n = 0; n < 20; n++) await life();
    expect(hostHoldings()).toEqual(before);
  });
});

describe.skipIf(!available)('kvm: an eventfd for an interrupt line', () => {
  const signal = (fd: number) => writeSync(fd, new Uint8Array(BigUint64Array.of(1n).buffer));

  it('interrupts once for each signal', async () => {
    const vm = await StubMachine.open(kvm(), [...pics(4), 0xfb, ...out(0x10, 0), ...HALT], () => 0);
    vm.backend.memory.writeU16(12 * 4, HANDLER);
    vm.backend.memory.writeU16(12 * 4 + 2, 0);
    vm.backend.memory.write(HANDLER, Uint8Array.of(0xe4, 0x11, ...out(0x20, 0x20), 0xcf));
    const before = eventfds();
    const irqfd = vm.backend.irqfd?.(4);
    expect(irqfd).toBeDefined();
    if (!irqfd) return;
    expect(eventfds()).toBe(before + 1);
    vm.backend.run();
    await vm.seen(1);
    for (const interrupts of [1, 2, 3]) {
      await delay(10);
      expect(vm.accesses).toHaveLength(interrupts);
      signal(irqfd.fd);
      await vm.seen(interrupts + 1);
    }
    expect(vm.accesses.slice(1).map(({ address }) => address)).toEqual([0x11, 0x11, 0x11]);
    irqfd.close();
    irqfd.close();
    expect(eventfds()).toBe(before);
    vm.backend.irqfd?.(5);
    await vm.close();
    expect(eventfds()).toBeLessThan(before);
    expect(() => vm.backend.irqfd?.(4)).toThrow(expect.objectContaining({ code: 'TL_VM_CLOSED' }));
  });

  it('is given for the 24 lines there are', async () => {
    const vm = await StubMachine.open(kvm(), HALT, () => 0);
    const before = hostHoldings();
    for (const gsi of [24, -1, 0.5, Number.NaN, 2 ** 32]) {
      expect(() => vm.backend.irqfd?.(gsi)).toThrow(expect.objectContaining({ code: 'TL_BACKEND_CAPABILITY' }));
    }
    expect(hostHoldings()).toEqual(before);
    await vm.close();
  });
});
