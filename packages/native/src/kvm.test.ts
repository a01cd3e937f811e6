import { type IoreqPage, SLOT_COUNT, STATE } from '@trapline/core';
import { afterEach, describe, expect, it } from 'vitest';
import { loadNative } from './addon.js';
import { kvm } from './kvm.js';
import {
  DS_TOP,
  ENTRY,
  HALT,
  MMIO,
  onInterrupt,
  out,
  pics,
  prepareProtectedMode,
  protectedMode,
  SPIN,
} from './testing/guest-code.js';
import { hostHoldings, type StubHandler, StubMachine } from './testing/stub-machine.js';

const provider = kvm();
const { available } = await provider.probe();
const open: StubMachine[] = [];

/** A guest of 1 MiB around `code`, at rest. */
async function machine(code: readonly number[], handler: StubHandler = () => 0, from = provider) {
  const vm = await StubMachine.open(from, code, handler);
  open.push(vm);
  return vm;
}

/** In protected mode with no gate for it: out 10h, al, then an undefined instruction. */
const TRIPLE_FAULT = protectedMode([...out(0x10, 1), 0x0f, 0x0b]);

const delay = (ms: number) => new Promise((resolve) => setTimeout(resolve, ms));

afterEach(async () => {
  for (const vm of open.splice(0)) await vm.close();
});

describe.skipIf(!available)('kvm: accesses', () => {
  it('carries PIO of 1, 2 and 4 bytes in both directions', async () => {
    const code = [
      ...[0xe4, 0x10, 0xe6, 0x60], // in al, 10h; out 60h, al
      ...[0xe5, 0x11, 0xe7, 0x61], // in ax, 11h; out 61h, ax
      ...[0x66, 0xe5, 0x12, 0x66, 0xe7, 0x62], // in eax, 12h; out 62h, eax
      ...HALT,
    ];
    const vm = await machine(code, ({ address }) => [0x1_23, 0xbeef, 0xdead_beef][address - 0x10] ?? 0);
    vm.backend.run();
    await vm.seen(6);
    expect(vm.accesses.map(({ space, write, address, size }) => ({ space, write, address, size }))).toEqual([
      { space: 'pio', write: false, address: 0x10, size: 1 },
      { space: 'pio', write: true, address: 0x60, size: 1 },
      { space: 'pio', write: false, address: 0x11, size: 2 },
      { space: 'pio', write: true, address: 0x61, size: 2 },
      { space: 'pio', write: false, address: 0x12, size: 4 },
      { space: 'pio', write: true, address: 0x62, size: 4 },
    ]);
    // A value wider than the access is cut to it, as on ACRN.
    expect(vm.accesses.filter((a) => a.write).map((a) => a.value)).toEqual([0x23, 0xbeef, 0xdead_beef]);
  });

  it('carries MMIO of 1, 2 and 4 bytes in both directions', async () => {
    const code = [
      ...DS_TOP,
      ...[0xa0, 0x10, 0, 0xa2, 0x20, 0], // mov al, [10h]; mov [20h], al
      ...[0xa1, 0x12, 0, 0xa3, 0x22, 0], // mov ax, [12h]; mov [22h], ax
      ...[0x66, 0xa1, 0x14, 0, 0x66, 0xa3, 0x24, 0], // mov eax, [14h]; mov [24h], eax
      ...HALT,
    ];
    const vm = await machine(code, ({ address }) => [0x45, 0, 0xcafe, 0, 0x8765_4321][address - MMIO] ?? 0);
    vm.backend.run();
    await vm.seen(6);
    expect(vm.accesses.map(({ space, write, address, size }) => [space, write, address - MMIO, size])).toEqual([
      ['mmio', false, 0x00, 1],
      ['mmio', true, 0x10, 1],
      ['mmio', false, 0x02, 2],
      ['mmio', true, 0x12, 2],
      ['mmio', false, 0x04, 4],
      ['mmio', true, 0x14, 4],
    ]);
    expect(vm.accesses.filter((a) => a.write).map((a) => a.value)).toEqual([0x45, 0xcafe, 0x8765_4321]);
  });

  it('hands on an MMIO access across a page boundary in powers of two, and puts a read together', async () => {
    // mov eax, [100dh + offset of the segment]: 3 bytes on one page, 1 on the next. Then mov [10h], eax.
    const code = [...DS_TOP, 0x66, 0xa1, 0x0d, 0x10, 0x66, 0xa3, 0x10, 0x00, ...HALT];
    const first = MMIO + 0x100d - 0x10;
    const vm = await machine(code, ({ address, size }) => {
      const byte = (n: number) => 0x11 * (address - first + n + 1);
      return size === 2 ? byte(0) + byte(1) * 256 : byte(0);
    });
    vm.backend.run();
    await vm.seen(4);
    expect(vm.accesses.slice(0, 3).map(({ address, size }) => [address - first, size])).toEqual([
      [0, 2],
      [2, 1],
      [3, 1],
    ]);
    expect(vm.accesses[3]?.value).toBe(0x4433_2211);
  });

  it('gives every element of rep outs and rep ins to the device by itself', async () => {
    const code = [
      ...[0xba, 0x10, 0, 0xbe, 0, 0x30, 0xb9, 4, 0, 0xfc, 0xf3, 0x6e], // dx 10h, si 3000h, cx 4: rep outsb
      ...[0xbf, 0, 0x40, 0xb9, 3, 0, 0xf3, 0x6d], // di 4000h, cx 3: rep insw
      ...out(0x60, 0),
      ...HALT,
    ];
    let next = 0x1110;
    const vm = await machine(code, (a) => (a.write ? 0 : ++next));
    vm.backend.memory.write(0x3000, Uint8Array.of(1, 2, 3, 4));
    vm.backend.run();
    await vm.seen(8);
    expect(vm.accesses.slice(0, 4).map(({ size, value }) => [size, value])).toEqual([
      [1, 1],
      [1, 2],
      [1, 3],
      [1, 4],
    ]);
    expect(vm.accesses.slice(4, 7).map(({ write, size }) => [write, size])).toEqual([
      [false, 2],
      [false, 2],
      [false, 2],
    ]);
    expect([...vm.backend.memory.read(0x4000, 6)]).toEqual([0x11, 0x11, 0x12, 0x11, 0x13, 0x11]);
  });

  it('counts generations and refuses a late completion', async () => {
    const vm = await machine([...out(0x10, 1), ...out(0x10, 2), ...HALT]);
    vm.backend.run();
    await vm.seen(2);
    const [first, second] = vm.accesses;
    expect(second && first && second.generation - first.generation).toBe(1);
    expect(first && vm.answer(first, 0)).toBe(false);
    expect(second && vm.answer(second, 0)).toBe(false);
    expect(vm.backend.ioreq?.complete(99, 0)).toBe(false);
  });

  it.each([0, 200])('loses no wake-up when the vCPU waits %i us before it sleeps', async (waitSpinMicroseconds) => {
    // mov cx, 3000; again: out 10h, al; loop again; out 60h, al; jmp to the start
    const code = [0xb9, 0xb8, 0x0b, 0xe6, 0x10, 0xe2, 0xfc, ...out(0x60, 0), 0xeb, 0xf3];
    const vm = await machine(code, () => 0, kvm({ waitSpinMicroseconds }));
    vm.backend.run();
    await vm.seen(12_000);
    expect(vm.accesses.filter((a) => a.address === 0x60).length).toBeGreaterThan(2);
  });

  it('lets an answer take its time', async () => {
    const vm = await machine([0xe4, 0x10, 0xe6, 0x60, ...HALT], (a) => (a.write ? 0 : undefined));
    vm.backend.run();
    await vm.seen(1);
    await delay(30);
    expect(vm.accesses).toHaveLength(1);
    const [read] = vm.accesses;
    expect(read && vm.answer(read, 0x77)).toBe(true);
    await vm.seen(2);
    expect(vm.accesses[1]?.value).toBe(0x77);
  });
});

describe.skipIf(!available)('kvm: interrupts', () => {
  /** Ready at port 10h, then asleep; the handler reads port 11h, acknowledges and returns. */
  const irqGuest = [...pics(4), 0xfb, ...out(0x10, 0), ...HALT];
  const handler = [0xe4, 0x11, ...out(0x20, 0x20), 0xcf];

  it('wakes a halted guest, once per edge', async () => {
    const vm = await machine(irqGuest, (a) => {
      if (a.address === 0x11) vm.backend.setIrqLine(4, false);
      return 0;
    });
    onInterrupt(vm.backend.memory, 12, handler);
    vm.backend.run();
    await vm.seen(1);
    for (const interrupts of [1, 2, 3]) {
      await delay(10);
      expect(vm.accesses).toHaveLength(interrupts);
      vm.backend.setIrqLine(4, true);
      await vm.seen(interrupts + 1);
    }
    await delay(10);
    expect(vm.accesses.slice(1).map((a) => a.address)).toEqual([0x11, 0x11, 0x11]);
  });

  it('delivers an MSI to the local APIC', async () => {
    const code = protectedMode([
      ...[0xc7, 0x05, 0xf0, 0x00, 0xe0, 0xfe, 0xff, 0x01, 0, 0], // mov [fee000f0], 1ff: APIC on
      ...[0xfb, ...out(0x10, 0), ...HALT],
    ]);
    const vm = await machine(code);
    prepareProtectedMode(vm.backend.memory, 0x41, [...out(0x11, 0x41), ...HALT]);
    vm.backend.run();
    await vm.seen(1);
    vm.backend.signalMsi(0xfee0_0000, 0x41);
    await vm.seen(2);
    expect(vm.accesses[1]).toMatchObject({ address: 0x11, value: 0x41 });
  });

  it('knows 24 lines', async () => {
    const vm = await machine(HALT);
    vm.backend.setIrqLine(23, true);
    expect(() => vm.backend.setIrqLine(24, true)).toThrow(/line 24 cannot be driven/);
  });
});

describe.skipIf(!available)('kvm: pause and resume', () => {
  /** inc word [3000h]; jmp back */
  const counting = [0xff, 0x06, 0x00, 0x30, 0xeb, 0xfa];

  it('stops and continues a guest that never leaves by itself', async () => {
    const vm = await machine(counting);
    const count = () => vm.backend.memory.readU16(0x3000);
    for (let round = 0; round < 5; round++) {
      vm.backend.run();
      await delay(5);
      await vm.backend.pause();
      const stopped = count();
      await delay(5);
      expect(count()).toBe(stopped);
      vm.backend.run();
      await delay(5);
      expect(count()).not.toBe(stopped);
      await vm.backend.pause();
    }
  });

  it('stops a halted guest, which an interrupt wakes only after it was resumed', async () => {
    const vm = await machine([...pics(4), 0xfb, ...out(0x10, 0), ...HALT]);
    onInterrupt(vm.backend.memory, 12, [0xe4, 0x11, ...out(0x20, 0x20), 0xcf]);
    vm.backend.run();
    await vm.seen(1);
    await vm.backend.pause();
    vm.backend.setIrqLine(4, true);
    await delay(10);
    expect(vm.accesses).toHaveLength(1);
    vm.backend.run();
    await vm.seen(2);
  });

  it('leaves a request in flight valid', async () => {
    const vm = await machine([0xe4, 0x10, 0xe6, 0x60, ...HALT], (a) => (a.write ? 0 : undefined));
    vm.backend.run();
    await vm.seen(1);
    await vm.backend.pause();
    const [read] = vm.accesses;
    expect(read && vm.answer(read, 0x42)).toBe(true);
    await delay(10);
    expect(vm.accesses).toHaveLength(1);
    vm.backend.run();
    await vm.seen(2);
    expect(vm.accesses[1]?.value).toBe(0x42);
  });

  it('takes effect between the parts of one instruction', async () => {
    const code = [0xba, 0x10, 0, 0xbe, 0, 0x30, 0xb9, 4, 0, 0xfc, 0xf3, 0x6e, ...HALT];
    let paused: Promise<void> | undefined;
    const vm = await machine(code, () => {
      paused ??= vm.backend.pause();
      return 0;
    });
    vm.backend.run();
    await vm.seen(1);
    await paused;
    await delay(10);
    expect(vm.accesses).toHaveLength(1);
    vm.backend.run();
    await vm.seen(4);
  });

  it('bears any order of run and pause', async () => {
    const vm = await machine(counting);
    await vm.backend.pause();
    vm.backend.run();
    vm.backend.run();
    const both = [vm.backend.pause(), vm.backend.pause()];
    await Promise.all(both);
    vm.backend.run();
    const superseded = vm.backend.pause();
    vm.backend.run();
    await superseded;
    await vm.backend.pause();
    await vm.backend.pause();
  });
});

describe.skipIf(!available)('kvm: reset', () => {
  it('starts again at the first instruction, with registers and PICs as new', async () => {
    // out 10h, al (0 at power-on); a mask in the PIC is read back at 11h; then AL and the mask change.
    const code = [0xe6, 0x10, 0xe4, 0x21, 0xe6, 0x11, ...pics(4), ...out(0x12, 0x55), ...HALT];
    const vm = await machine(code);
    vm.backend.run();
    await vm.seen(3);
    await vm.backend.pause();
    await vm.backend.reset();
    expect(vm.accesses).toHaveLength(3);
    vm.backend.run();
    await vm.seen(6);
    expect(vm.accesses.slice(3).map((a) => a.value)).toEqual(vm.accesses.slice(0, 3).map((a) => a.value));
  });

  it('gives up a request in flight, without a trace in the new life', async () => {
    let kept = true;
    const vm = await machine([0xe4, 0x10, 0xe6, 0x60, ...HALT], (a) => (kept && !a.write ? undefined : 0x33));
    vm.backend.run();
    await vm.seen(1);
    await vm.backend.pause();
    const [read] = vm.accesses;
    await vm.backend.reset();
    expect(read && vm.answer(read, 0x42)).toBe(false);
    kept = false;
    vm.backend.run();
    await vm.seen(3);
    expect(vm.accesses.map((a) => a.address)).toEqual([0x10, 0x10, 0x60]);
    expect(vm.accesses[2]?.value).toBe(0x33);
  });

  it('keeps a line that is driven: the new life finds its edge in the PIC', async () => {
    // OCW3: read the request register; in al, 20h; out 60h, al
    const vm = await machine([...out(0x20, 0x0a), 0xe4, 0x20, 0xe6, 0x60, ...HALT]);
    vm.backend.run();
    await vm.seen(1);
    vm.backend.setIrqLine(4, true);
    await vm.backend.pause();
    await vm.backend.reset();
    vm.backend.run();
    await vm.seen(2);
    expect(vm.accesses.map((a) => a.value)).toEqual([0, 0x10]);
  });

  it('revives a guest that ended', async () => {
    const vm = await machine(TRIPLE_FAULT);
    prepareProtectedMode(vm.backend.memory, 0x41, HALT);
    vm.backend.run();
    expect((await vm.wait()).reason).toBe('triple-fault');
    await vm.backend.pause();
    await vm.backend.reset();
    vm.backend.run();
    await vm.seen(2);
  });

  it('can be asked for again as soon as it is done', async () => {
    const vm = await machine(SPIN);
    for (let n = 0; n < 300; n++) await vm.backend.reset();
  });

  it('can be asked for while the vCPU takes the answer it was paused with', async () => {
    const vm = await machine([0xe4, 0x10, 0xeb, 0xfc], () => undefined);
    for (let n = 1; n <= 300; n++) {
      vm.backend.run();
      await vm.seen(n);
      await vm.backend.pause();
      const [request] = vm.accesses.slice(-1);
      expect(request && vm.answer(request, 0)).toBe(true);
      await vm.backend.reset();
    }
  });

  it('is refused while the vCPU runs', async () => {
    const vm = await machine(SPIN);
    vm.backend.run();
    await expect(vm.backend.reset()).rejects.toMatchObject({ code: 'TL_VM_STATE' });
  });
});

describe.skipIf(!available)('kvm: the end of a guest', () => {
  it('tells a triple fault', async () => {
    const vm = await machine(TRIPLE_FAULT);
    prepareProtectedMode(vm.backend.memory, 0x41, HALT);
    vm.backend.run();
    expect(await vm.wait()).toEqual({ reason: 'triple-fault', error: undefined });
    await vm.backend.pause();
  });

  it('tells what KVM could not do, and where', async () => {
    // Executing from MMIO: jmp ffff:0010
    const vm = await machine([0xea, 0x10, 0x00, 0xff, 0xff]);
    vm.backend.run();
    const { reason, error } = await vm.wait();
    expect(reason).toBe('backend-failed');
    expect(error).toMatchObject({ code: 'TL_BACKEND_FAILED', who: 'kvm' });
    expect(error?.message).toMatch(/at rip 0x10\b/);
    expect(error?.details).toMatchObject({ rip: '0x10' });
  });
});

describe.skipIf(!available)('kvm: opening and closing', () => {
  it('closes with a request in flight, whose answer then comes too late', async () => {
    const vm = await machine([0xe4, 0x10, ...HALT], () => undefined);
    vm.backend.run();
    await vm.seen(1);
    const page = vm.backend.ioreq?.page as IoreqPage;
    const states = Array.from({ length: SLOT_COUNT }, (_, slot) => page.state(slot));
    expect(states).toEqual([STATE.PROCESSING, ...Array(SLOT_COUNT - 1).fill(STATE.FREE)]);
    const [read] = vm.accesses;
    await vm.close();
    expect(read && vm.answer(read, 1)).toBe(false);
    expect(page.i32.length).toBe(0);
    await vm.close();
  });

  it('takes guest memory away from everyone who holds a view of it', async () => {
    const vm = await machine(HALT);
    const { memory } = vm.backend;
    const view = memory.view(ENTRY, 3);
    expect([...view]).toEqual(HALT);
    await vm.close();
    expect(view.length).toBe(0);
    expect(memory.contains(ENTRY, 1)).toBe(false);
  });

  it('does nothing and says nothing after close', async () => {
    const vm = await machine(HALT);
    await vm.close();
    vm.backend.setIrqLine(4, true);
    vm.backend.signalMsi(0xfee0_0000, 0x20);
    await vm.backend.pause();
    expect(vm.backend.ioreq?.take()).toBe(0);
    expect(vm.backend.ioreq?.generation(0)).toBe(0);
    expect(() => vm.backend.run()).toThrow(expect.objectContaining({ code: 'TL_VM_CLOSED' }));
    await expect(vm.backend.reset()).rejects.toMatchObject({ code: 'TL_VM_CLOSED' });
  });

  it('settles a pause and a reset that are under way', async () => {
    const vm = await machine(SPIN);
    vm.backend.run();
    const paused = vm.backend.pause();
    await vm.close();
    await paused;
    const other = await machine(SPIN);
    const reset = expect(other.backend.reset()).rejects.toMatchObject({ code: 'TL_VM_CLOSED' });
    await other.close();
    await reset;
  });

  it('leaves nothing behind in 50 lives', async () => {
    const life = async (n: number) => {
      const vm = await StubMachine.open(provider, [...out(0x10, 0), ...(n % 2 ? SPIN : HALT)], () =>
        n % 3 === 0 ? undefined : 0,
      );
      vm.backend.run();
      await vm.seen(1);
      if (n % 5 === 0) await vm.backend.pause();
      await vm.close();
    };
    await life(0);
    const before = hostHoldings();
    for (let n = 0; n < 50; n++) await life(n);
    expect(hostHoldings()).toEqual(before);
  });

  it('closes at any moment', async () => {
    for (let n = 0; n < 60; n++) {
      const vm = await StubMachine.open(provider, [0xe4, 0x10, 0xe6, 0x60, 0xeb, 0xfa], () => 0);
      vm.backend.run();
      const until = performance.now() + n / 30;
      while (performance.now() < until) await new Promise((resolve) => setImmediate(resolve));
      await vm.close();
    }
  });

  it('runs several machines side by side', async () => {
    const guests = await Promise.all([1, 2, 3].map((n) => machine([...out(0x10, n), ...HALT])));
    for (const vm of guests) vm.backend.run();
    await Promise.all(guests.map((vm) => vm.seen(1)));
    expect(guests.map((vm) => vm.accesses[0]?.value)).toEqual([1, 2, 3]);
  });

  it('gives the guest RAM below 3 GiB and above 4 GiB', async () => {
    const memory = 5 * 2 ** 30;
    const backend = await provider.open({ cpus: 1, memory, guest: undefined, log: undefined as never });
    backend.memory.writeU32(memory + 2 ** 30 - 4, 0x1234_5678);
    expect(backend.memory.readU32(memory + 2 ** 30 - 4)).toBe(0x1234_5678);
    expect(backend.memory.contains(3 * 2 ** 30, 1)).toBe(false);
    expect(backend.capabilities.mmioWindows.at(0)).toEqual([3 * 2 ** 30, 0xfebf_ffff]);
    expect(backend.capabilities.mmioWindows.at(-1)?.[0]).toBe(6 * 2 ** 30);
    await backend.close();
  });

  it('refuses sizes that no machine has, and leaves nothing behind', () => {
    const load = loadNative();
    if (!load.addon) throw new Error(load.reason);
    const { addon } = load;
    const good = { device: '/dev/kvm', memory: 2 ** 20, cpus: 1, entry: 0x1000, waitSpinMicroseconds: 0 };
    const before = hostHoldings();
    for (const memory of [0, 1, 4095, 4097, -4096, Number.NaN, 2 ** 62, 2 ** 53 - 4096, -(2 ** 63)]) {
      expect(() => addon.openKvm({ ...good, memory }, () => {}), `${memory} bytes`).toThrow();
    }
    for (const cpus of [0, 17, -1, 2 ** 31]) {
      expect(() => addon.openKvm({ ...good, cpus }, () => {}), `${cpus} vCPUs`).toThrow();
    }
    expect(hostHoldings()).toEqual(before);
  });

  it('refuses what it cannot do, before anything is opened', async () => {
    const config = { cpus: 1, memory: 2 ** 20, guest: undefined, log: undefined as never };
    const image = () => new Uint8Array(2 ** 20);
    const capability = { code: 'TL_BACKEND_CAPABILITY' };
    await expect(provider.open({ ...config, cpus: 17 })).rejects.toMatchObject(capability);
    await expect(provider.open({ ...config, memory: 2 ** 40 })).rejects.toMatchObject(capability);
    await expect(provider.open({ ...config, memory: 5000 })).rejects.toMatchObject({ code: 'TL_MEMORY_SIZE' });
    const script = { kind: 'script', script: () => undefined } as const;
    await expect(provider.open({ ...config, guest: script })).rejects.toMatchObject(capability);
    for (const address of [0x1000, 0x1_0000, -1, 0.5]) {
      await expect(provider.open({ ...config, guest: { kind: 'flat', address, image } })).rejects.toMatchObject(
        capability,
      );
    }
    const vm = await machine(HALT);
    const device = { name: 'uart', resources: [] };
    expect(() => vm.backend.assignMmioDevice(device)).toThrow(expect.objectContaining(capability));
    expect(() => vm.backend.deassignMmioDevice(device)).toThrow(expect.objectContaining(capability));
  });
});
