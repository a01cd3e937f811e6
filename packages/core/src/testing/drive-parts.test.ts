// Everything a test can do with `drive`, one device per thing.
import { describe, expect, it } from 'vitest';
import { z } from 'zod';
import {
  type AsyncIoHandler,
  array,
  bit,
  bits,
  bytes,
  Clock,
  Device,
  GuestMemory,
  hostResource,
  type IoHandler,
  Irq,
  IrqLine,
  indexed,
  layout,
  Mmio,
  Msi,
  mmio,
  Options,
  Pio,
  Random,
  reg,
  registers,
  resourceOption,
  state,
  timer,
  u32,
} from '../index.js';
import { pump } from '../machine/pump.js';
import { DrivenClock, drive, REGION } from './index.js';

const LAYOUT = layout({
  width: 1,
  regs: {
    ctrl: reg(0, { fields: { on: bit(0), mode: bits(2, 1, { 0: 'slow', 1: 'fast' }) } }),
    slots: array(3, 1, reg(1, {})),
    wide: reg(4, { width: 4, reset: 0x1234_5678 }),
    cmos: indexed({ index: 8, data: 9, regs: { seconds: reg(3, {}), flags: reg(4, { access: 'rc', reset: 0x80 }) } }),
  },
});

@Device({ type: 'parts', summary: 'one register of each kind' })
class Parts {
  @Mmio({ base: 0xd000_0000 }) readonly regs = registers(LAYOUT, {});
}

it('a driven device is gone when its test is: nobody keeps its machine', () => {
  const { lanes } = pump as unknown as { readonly lanes: readonly unknown[] };
  drive(Parts);
  expect((pump as unknown as { readonly lanes: readonly unknown[] }).lanes).toBe(lanes);
});

describe('registers from the guest', () => {
  it('are reached by name, in arrays and behind an index', () => {
    const { guest, device } = drive(Parts);
    guest.regs.ctrl.write({ mode: 'fast' });
    expect(guest.regs.ctrl.fields()).toEqual({ on: false, mode: 'fast' });
    guest.regs.slots[2]?.write(7);
    expect(device.regs.slots.map((slot) => slot.value)).toEqual([0, 0, 7]);
    guest.regs.cmos.seconds.write(59);
    expect(device.regs.cmos.seconds.value).toBe(59);
    expect(device.regs.cmos.index.value).toBe(3);
    expect(guest.regs.wide.read()).toBe(0x1234_5678);
  });

  it('are peeked without an access, behind an index too', () => {
    const { guest, device } = drive(Parts);
    guest.regs.cmos.seconds.write(1);
    expect(guest.regs.cmos.flags.peek()).toBe(0x80);
    expect(device.regs.cmos.index.value).toBe(3);
    expect(guest.regs.cmos.flags.read()).toBe(0x80);
    expect(guest.regs.cmos.flags.read()).toBe(0);
  });

  it('are as far apart as the test places them', () => {
    const { guest, device } = drive(Parts, { at: mmio(0x9000_0000, { stride: 4 }) });
    guest.regs.slots[1]?.write(5);
    expect(guest.regs[REGION].read(8, 1)).toBe(5);
    expect(guest.regs.slots[1]?.read()).toBe(5);
    // A register wider than the stride's unit is several accesses.
    expect(guest.regs.wide.read()).toBe(0x1234_5678);
    guest.regs.wide.write(0xdead_beef);
    expect(device.regs.wide.value).toBe(0xdead_beef);
    guest.regs.cmos.seconds.write(9);
    expect(device.regs.cmos.seconds.value).toBe(9);
  });

  it('are plain addresses too, up to 8 bytes', () => {
    const { guest } = drive(Parts);
    expect(guest.regs[REGION].read(0, 8)).toBe(0x1234_5678 * 2 ** 32);
    guest.regs.wide.write(0x8000_0000);
    expect(guest.regs[REGION].read(0, 8)).toBe(2 ** 63);
    guest.regs.wide.write(0x1234_5678);
    guest.regs[REGION].write(4, 2, 0xffff);
    expect(guest.regs[REGION].read(4, 4)).toBe(0x1234_ffff);
    expect(guest.regs[REGION].peek(4, 4)).toBe(0x1234_ffff);
    expect(guest.regs[REGION].read(0)).toBe(0);
  });

  it('refuse a field or a value they lack', () => {
    const { guest } = drive(Parts);
    expect(() => guest.regs.ctrl.write({ mode: 'never' } as never)).toThrow(/ctrl.mode cannot be never/);
    expect(() => guest.regs.ctrl.write({ off: true } as never)).toThrow(/ctrl.off/);
  });
});

describe('lines', () => {
  @Device({ type: 'lines', summary: 'three lines' })
  class Lines {
    @Pio({ size: 1 }) readonly port: IoHandler = {
      read: () => 0,
      write: (_offset, _size, value) => {
        this.main.set((value & 1) !== 0);
        this.rx.set((value & 2) !== 0);
        this.tx.set((value & 4) !== 0);
      },
    };
    constructor(
      readonly main: IrqLine,
      @Irq('rx', { default: 3 }) readonly rx: IrqLine,
      @Irq('tx') readonly tx: IrqLine,
    ) {}
  }

  it('are found by name, the unnamed one as irq', () => {
    const t = drive(Lines);
    t.guest.port.write(0, 1, 0b011);
    expect([t.irq.level, t.lines.rx?.level, t.lines.tx?.level]).toEqual([true, true, false]);
    t.guest.port.write(0, 1, 0b100);
    t.guest.port.write(0, 1, 0b101);
    expect([t.irq.raised, t.lines.rx?.raised, t.lines.tx?.raised]).toEqual([2, 1, 1]);
    expect(Object.keys(t.lines).sort()).toEqual(['irq', 'rx', 'tx']);
  });

  it('of a device with one named line are irq, of a device with none an error', () => {
    @Device({ type: 'one-line', summary: 'one named line' })
    class OneLine {
      @Pio({ size: 1 }) readonly port: IoHandler = { read: () => 0, write: () => this.done.set(true) };
      constructor(@Irq('done') readonly done: IrqLine) {}
    }
    const t = drive(OneLine);
    t.guest.port.write(0, 1, 0);
    expect(t.irq.level).toBe(true);
    expect(() => drive(Parts).irq).toThrow(/Parts.*no interrupt line/);
  });
});

describe('time, memory and messages', () => {
  @Device({ type: 'busy', summary: 'uses all of the machine' })
  class Busy {
    @Mmio({ size: 8 }) readonly door: IoHandler = {
      read: () => this.random.u32(),
      write: (offset, _size, value) => {
        if (offset === 4) this.state.bang.after(value);
        this.memory.writeU32(0x8_0000, value);
        this.msi.send(0xfee0_0000, value);
      },
    };
    readonly state = state({
      bang: timer(() => {
        throw new Error('bang');
      }),
      last: u32(),
    });
    constructor(
      readonly memory: GuestMemory,
      readonly msi: Msi,
      readonly random: Random,
      readonly clock: Clock,
    ) {}
  }

  it('are in the hands of the test', () => {
    const t = drive(Busy);
    t.guest.door.write(0, 4, 0x55aa);
    expect(t.memory.readU32(0x8_0000)).toBe(0x55aa);
    expect(t.memory.size).toBe(2 ** 20);
    expect(t.takeMsis()).toEqual([{ address: 0xfee0_0000, data: 0x55aa }]);
    expect(t.takeMsis()).toEqual([]);
    expect(t.guest.door.read(0, 4)).toBe(drive(Busy).guest.door.read(0, 4));
    t.memory.write(0, new Uint8Array([1, 2, 3]));
    expect(t.memory.read(1, 2)).toEqual(new Uint8Array([2, 3]));
    expect(t.memory.view(0, 1)[0]).toBe(1);
  });

  it('are saved and restored, memory too', () => {
    const t = drive(Busy);
    t.clock.advance(3);
    t.guest.door.write(4, 4, 10);
    const restored = drive(Busy);
    restored.restore(t.save());
    expect(restored.clock.now()).toBe(3);
    expect(restored.device.state.bang.deadline).toBe(13);
    expect(restored.memory.readU32(0x8_0000)).toBe(10);
    expect(() => restored.restore({ format: 1, time: 0, devices: {} })).toThrow(/no saved state/);
  });

  it('throw what a timer throws', () => {
    const t = drive(Busy);
    t.guest.door.write(4, 4, 10);
    t.clock.advance(9);
    expect(() => t.clock.advanceToNext()).toThrow(/timer bang threw bang/);
    expect(t.clock.now()).toBe(10);
    expect(t.clock.advanceToNext()).toBe(false);
  });

  it('refuse timers without end, and stop where asked', () => {
    const clock = new DrivenClock();
    const again = (): void => void clock.setTimer(clock.now(), again);
    clock.setTimer(1, again);
    expect(() => clock.advance(1)).toThrow(/timers fire at 1 ms/);
    const ticking = new DrivenClock();
    const tick = (): void => void ticking.setTimer(ticking.now() + 1, tick);
    tick();
    ticking.advance(100, 5);
    expect(ticking.now()).toBe(5);
  });
});

describe('failures', () => {
  @Device({ type: 'fragile', summary: 'breaks in every way' })
  @Pio({ size: 8 })
  class Fragile implements IoHandler {
    readonly state = state({ data: bytes(8) });
    read(offset: number): number {
      if (offset === 1) throw new Error('boom');
      return offset === 2 ? Number.NaN : 0;
    }
    write(offset: number): void {
      if (offset === 1) throw new Error('bang');
      // biome-ignore lint/correctness/noVoidTypeReturn: what this device does wrong
      if (offset === 2) return Promise.resolve() as never;
    }
    onReset(kind: string): void {
      if (kind === 'soft') throw new Error('not softly');
    }
  }

  it('are thrown at the access that causes them', () => {
    expect(() => drive(Fragile).guest.read(1, 1)).toThrow(/read of 1 at offset 0x1: threw boom/);
    expect(() => drive(Fragile).guest.read(2, 1)).toThrow(/returned NaN/);
    expect(() => drive(Fragile).guest.write(1, 1, 0)).toThrow(/threw bang/);
    expect(() => drive(Fragile).guest.write(2, 1, 0)).toThrow(/returned a promise/);
    expect(() => drive(Fragile).reset('soft')).toThrow(/onReset threw not softly/);
  });

  it('are thrown once: then the device answers all ones', () => {
    const t = drive(Fragile);
    expect(t.failure).toBeUndefined();
    expect(() => t.guest.read(1, 1)).toThrow();
    expect(t.failure?.code).toBe('TL_DEVICE_HANDLER');
    expect(t.guest.read(0, 1)).toBe(0xff);
    expect(t.log).toMatchObject([{ level: 'error', who: 'device' }]);
  });

  it('at power-on are thrown by drive', () => {
    @Device({ type: 'stillborn', summary: 'throws when constructed' })
    class Stillborn {
      constructor() {
        throw new Error('no');
      }
    }
    @Device({ type: 'early', summary: 'throws when powered on' })
    class Early {
      onReset(): void {
        throw new Error('too early');
      }
    }
    expect(() => drive(Stillborn)).toThrow(/constructor of Stillborn threw: no/);
    expect(() => drive(Early)).toThrow(/onReset threw too early/);
    expect(() => drive(class Undecorated {})).toThrow(/not decorated/);
  });
});

describe('host resources', () => {
  const HostOptions = z.object({ disk: resourceOption<{ size: number }>('disk') });
  @Device({ type: 'disk', summary: 'has a host resource', options: HostOptions })
  class Disk {
    @Pio({ size: 1 }) readonly port: IoHandler = { read: () => this.options.disk.size, write: () => {} };
    constructor(readonly options: Options<z.output<typeof HostOptions>>) {}
  }

  it('are opened, shown and closed', async () => {
    const log: string[] = [];
    const disk = hostResource(
      'disk(9)',
      () => ({ size: 9 }),
      () => void log.push('closed'),
    );
    const t = drive(Disk, { disk });
    expect(t.guest.port.read(0)).toBe(9);
    expect(t.opened.disk).toEqual({ size: 9 });
    await t.close();
    expect(log).toEqual(['closed']);
  });

  it('that open asynchronously are refused, and one that does not open is named', () => {
    expect(() => drive(Disk, { disk: hostResource('slow disk', async () => ({ size: 1 })) })).toThrow(
      /slow disk opens asynchronously/,
    );
    const fails = () => {
      throw new Error('no such file');
    };
    expect(() => drive(Disk, { disk: hostResource('disk(x)', fails) })).toThrow(/disk\(x\): no such file/);
  });
});

it('a region that defers is awaited', async () => {
  @Device({ type: 'slow', summary: 'answers later' })
  class Slow {
    readonly state = state({ value: u32() });
    @Mmio({ size: 4, defer: true }) readonly door: AsyncIoHandler = {
      read: async () => this.state.value,
      write: async (_offset, _size, value) => {
        await Promise.resolve();
        if (value === 13) throw new Error('unlucky');
        this.state.value = value;
      },
    };
  }
  const t = drive(Slow);
  await t.guest.door.write(0, 4, 7);
  expect(await t.guest.door.read(0, 4)).toBe(7);
  await expect(t.guest.door.write(0, 4, 13)).rejects.toThrow(/unlucky/);
});
