// What the compiler must refuse. Nothing here runs but one assertion: every `@ts-expect-error` is
// checked by `npm run typecheck`, which fails where a wrong use compiles.
import { describe, expectTypeOf, it } from 'vitest';
import { z } from 'zod';
import {
  type AsyncIoHandler,
  array,
  bit,
  bits,
  Clock,
  Device,
  defineMachine,
  type IoHandler,
  IrqLine,
  indexed,
  layout,
  Mmio,
  Options,
  Pio,
  pio,
  reg,
  registers,
  start,
  state,
  timer,
  u8,
  use,
} from '../index.js';
import { checkDevice, describeDevice, drive } from './index.js';

const LAYOUT = layout({
  width: 4,
  regs: {
    ctrl: reg(0x0, { fields: { enable: bit(0), mode: bits(2, 1, { 0: 'oneshot', 1: 'periodic' }), rate: bits(7, 4) } }),
    status: reg(0x4, { access: 'w1c', fields: { fired: bit(0) } }),
    count: reg(0x8, { access: 'ro' }),
    id: reg(0xc, { access: 'const', reset: 7, fields: { model: bits(3, 0) } }),
    kick: reg(0x10, { access: 'wo' }),
    slots: array(2, 4, reg(0x14, { fields: { used: bit(0) } })),
  },
});
const CMOS = layout({
  width: 1,
  regs: { cmos: indexed({ index: 0, data: 1, regs: { seconds: reg(0, {}), flags: reg(1, { access: 'rc' }) } }) },
});
const TypedOptions = z.object({ hz: z.number().default(100), name: z.string().default('') });

@Device({ type: 'typed', summary: 'everything with a type', irq: 5, options: TypedOptions })
class Typed {
  @Mmio({ base: 0xd000_0000 }) readonly regs = registers(LAYOUT, {});
  @Pio({ base: 0x70 }) readonly cmos = registers(CMOS, {});
  @Pio({ base: 0x80, size: 1 }) readonly port: IoHandler = { read: () => 0, write: () => {} };
  @Mmio({ base: 0xd000_1000, size: 4, defer: true }) readonly slow: AsyncIoHandler = {
    read: async () => 0,
    write: async () => {},
  };
  readonly state = state({ count: u8(), tick: timer(() => {}) });
  constructor(
    readonly irq: IrqLine,
    readonly clock: Clock,
    readonly options: Options<z.output<typeof TypedOptions>>,
  ) {}
}

/** Compiled, never called. */
function never(run: () => unknown): void {
  void run;
}

describe('what the device may not write', () => {
  it('is refused by the compiler', () => {
    never(() => {
      const { regs, cmos, state: cells, options } = drive(Typed).device;
      // @ts-expect-error an unknown field
      regs.ctrl.enabled = true;
      // @ts-expect-error an unknown register
      regs.control.enable = true;
      // @ts-expect-error a value the enumeration lacks
      regs.ctrl.mode = 'sometimes';
      // @ts-expect-error a one-bit field is a boolean
      regs.ctrl.enable = 1;
      // @ts-expect-error a field of bits is a number
      regs.ctrl.rate = '3';
      // @ts-expect-error a constant field
      regs.id.model = 1;
      // @ts-expect-error a constant register
      regs.id.value = 1;
      // @ts-expect-error a register is no variable
      regs.ctrl = 1;
      // @ts-expect-error an element of an array has fields of its own
      regs.slots[0].free = true;
      // @ts-expect-error an unknown register behind an index
      cmos.cmos.minutes.value = 1;
      // @ts-expect-error a state cell of numbers
      cells.count = 'three';
      // @ts-expect-error a timer is used in place
      cells.tick = drive(Typed).device.state.tick;
      // @ts-expect-error options are what the user gave
      options.hz = 3;
      return [regs, cmos, cells, options];
    });
  });
});

describe('what the guest may not do', () => {
  it('is refused by the compiler', () => {
    never(() => {
      const { guest } = drive(Typed);
      // @ts-expect-error a write to a read-only register
      guest.regs.count.write(1);
      // @ts-expect-error a write to a constant register
      guest.regs.id.write(1);
      // @ts-expect-error a read of a write-only register
      guest.regs.kick.read();
      // @ts-expect-error a write to a register that clears when read
      guest.cmos.cmos.flags.write(1);
      // @ts-expect-error an unknown field
      guest.regs.ctrl.write({ enabled: true });
      // @ts-expect-error a value the enumeration lacks
      guest.regs.ctrl.write({ mode: 'sometimes' });
      // @ts-expect-error an unknown region
      guest.fifo.read(0);
      // @ts-expect-error a device's state is no region
      guest.state.read(0);
      // @ts-expect-error the value of an access is a number
      guest.port.write(0, 1, true);
      // @ts-expect-error a region that defers is awaited
      const value: number = guest.slow.read(0);
      return value;
    });
    expectTypeOf(drive(Typed).guest.regs.ctrl.fields()).toEqualTypeOf<{
      enable: boolean;
      mode: 'oneshot' | 'periodic';
      rate: number;
    }>();
  });
});

describe('what a declaration may not say', () => {
  it('is refused by the compiler', () => {
    never(() => {
      // @ts-expect-error a class region without read
      @Pio({ base: 0x80, size: 1 })
      class Deaf {
        write(): void {}
      }
      // @ts-expect-error a class region whose read returns a promise
      @Pio({ base: 0x80, size: 1 })
      class Slow {
        async read(): Promise<number> {
          return 0;
        }
        write(): void {}
      }
      class Members {
        // @ts-expect-error a member region that is no handler
        @Mmio({ base: 0x1000, size: 4 }) readonly count = 3;
        // @ts-expect-error nor one that only reads
        @Mmio({ base: 0x2000, size: 4 }) readonly half = { read: () => 0 };
      }
      // @ts-expect-error a device has a type
      Device({ summary: 'nameless' });
      // @ts-expect-error a line is a number
      Device({ type: 'x', summary: 'x', irq: 'five' });
      // @ts-expect-error an access size no bus has
      Mmio({ valid: { max: 3 } });
      return [Deaf, Slow, Members];
    });
  });

  it('nor a layout or its hooks', () => {
    never(() => {
      // @ts-expect-error a hook for an unknown register
      registers(LAYOUT, { control: { write: () => {} } });
      // @ts-expect-error an unknown hook
      registers(LAYOUT, { ctrl: { written: () => {} } });
      // @ts-expect-error a read hook returns the value
      registers(LAYOUT, { ctrl: { read: () => 'three' } });
      // @ts-expect-error nor does it return a promise
      registers(LAYOUT, { ctrl: { read: async () => 3 } });
      // @ts-expect-error an unknown access mode
      reg(0, { access: 'rx' });
      // @ts-expect-error a register of three bytes
      layout({ width: 3, regs: {} });
    });
  });
});

describe('what a machine may not hold', () => {
  it('is refused by the compiler', () => {
    never(async () => {
      // @ts-expect-error an unknown option
      use(Typed, { herz: 3 });
      // @ts-expect-error an option of the wrong type
      use(Typed, { hz: 'fast' });
      // @ts-expect-error a line of the wrong type
      use(Typed, { irq: 'five' });
      // @ts-expect-error a place is made by pio() or mmio()
      use(Typed, { at: 0x3f8 });
      // @ts-expect-error a stride that is no power of two
      pio(0x3f8, { stride: 3 });
      // @ts-expect-error an unknown option of a unit test
      drive(Typed, { herz: 3 });
      // @ts-expect-error an option of the wrong type of a unit test
      drive(Typed, { hz: 'fast' });
      // @ts-expect-error an option of the wrong type for the kit
      describeDevice(Typed, { hz: 'fast' });
      // @ts-expect-error nor from a function
      describeDevice(Typed, () => ({ hz: 'fast' }));
      // @ts-expect-error an unknown setting of the kit
      checkDevice(Typed, {}, { run: 3 });
      // @ts-expect-error an unknown property
      checkDevice(Typed, {}, { except: { speed: 'too slow' } });
      const machine = defineMachine({ memory: '1M', devices: { tick: use(Typed, { hz: 3 }) } });
      const vm = await start(machine);
      expectTypeOf(vm.devices.tick).toEqualTypeOf<Typed>();
      // @ts-expect-error an unknown device id
      return vm.devices.tock;
    });
  });
});

describe('what may be attached', () => {
  it('is what may be in a machine, and gives an instance of its class', () => {
    never(async () => {
      const vm = await start(defineMachine({ memory: '1M', devices: {} }));
      const attached = await vm.attach('tick', use(Typed, { hz: 3, at: { port: pio(0x90) } }), {
        signal: new AbortController().signal,
      });
      expectTypeOf(attached).toEqualTypeOf<Typed>();
      expectTypeOf(vm.detach('tick')).toEqualTypeOf<Promise<void>>();
      vm.on('device:attached', ({ device }) => expectTypeOf(device).toEqualTypeOf<string>());
      // @ts-expect-error an unknown option
      vm.attach('tick', use(Typed, { herz: 3 }));
      // @ts-expect-error an option of the wrong type, without use()
      vm.attach('tick', { device: Typed, config: { hz: 'fast' } });
      // @ts-expect-error a class is no entry of a machine
      vm.attach('tick', Typed);
      // @ts-expect-error an id is a string
      vm.attach(3, use(Typed));
      // @ts-expect-error the instance has no such member
      attached.fifo;
      // @ts-expect-error an unknown event
      vm.on('device:plugged', () => {});
    });
  });
});
