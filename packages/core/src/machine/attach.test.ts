import { describe, expect, it } from 'vitest';
import { z } from 'zod';
import { Board, Busmaster, Card, Disk, gate, Mover, machine, Port, resources } from '../../test/cards.js';
import { boot, settle, spiedSim } from '../../test/machine.js';
import { SIM_JS_CAPABILITIES } from '../backend/sim-js.js';
import { mmio, pio } from '../device/attachment.js';
import { u8 } from '../device/cells.js';
import { Device, Mmio, Pio } from '../device/decorators.js';
import type { AsyncIoHandler, IoHandler } from '../device/handler.js';
import { hostResource, resourceOption } from '../device/host-resource.js';
import type { DeviceClass } from '../device/metadata.js';
import { state } from '../device/state.js';
import { Clock, Decoder, Inbox, IrqLine, MachineControl, Msi, Options } from '../device/tokens.js';
import { CompositionError, type TraplineError } from '../errors.js';
import type { TraceRecord } from '../ioreq/trace.js';
import { defineMachine, use } from './define.js';
import { start } from './start.js';

/** What a refused attachment says. */
const problemsOf = async (attaching: Promise<unknown>) => {
  const thrown = await attaching.catch((error: unknown) => error);
  expect(thrown).toBeInstanceOf(CompositionError);
  return (thrown as CompositionError).problems;
};

describe('attaching', () => {
  it('puts a device into the running machine, as if it had been there at the start', async () => {
    const { vm, inb, outb, cpu, clock, events } = machine();
    expect(inb(0x80)).toBe(0xff);
    const card = await vm.attach('card', use(Card, { id: 9 }));
    expect(card).toBeInstanceOf(Card);
    expect(vm.inspectDevice('card')?.instance).toBe(card);
    expect(card.calls).toEqual(['reset power', 'resume']);
    outb(0x81, 3);
    expect([inb(0x80), inb(0x81), card.state.n]).toEqual([9, 3, 3]);
    card.irq.set(true);
    expect(cpu.line(5)).toBe(true);
    card.state.tick.after(10);
    clock.advance(10);
    card.post('hello');
    expect(card.calls.slice(2)).toEqual(['tick', 'rx hello']);
    expect(vm.map()).toContainEqual({
      space: 'pio',
      first: 0x80,
      last: 0x81,
      device: 'card',
      region: '',
      type: 'card',
    });
    expect(vm.counters().find(({ device }) => device === 'card')).toMatchObject({ reads: 2, writes: 1 });
    expect([vm.inspectDevice('card')?.id, events]).toEqual(['card', ['attached card']]);
  });

  it('is seen by the guest between two accesses: before it nothing, after it all of it', async () => {
    const seen: number[] = [];
    let open = (_disk: string) => {};
    const disk = hostResource<string>('disk', () => new Promise((resolve) => (open = resolve)));
    const machine = defineMachine({
      memory: '64K',
      devices: { board: use(Board) },
      guest: {
        kind: 'script',
        script: async (cpu) => {
          seen.push(await cpu.readAsync('pio', 0x90, 1));
          cpu.write('pio', 0x10, 1, 0);
          seen.push(await cpu.readAsync('pio', 0x90, 1));
          while (seen.at(-1) === 0xff) {
            await cpu.sleep(1);
            seen.push(await cpu.readAsync('pio', 0x90, 1));
          }
          cpu.write('pio', 0x10, 1, 0);
          seen.push(await cpu.readAsync('pio', 0x90, 1));
        },
      },
    });
    const vm = await start(machine, {
      backend: 'sim-js',
      onComposed: (composed) => {
        const board = composed.devices.board as Board;
        board.act = () => {
          board.act = () => void composed.detach('disk');
          void composed.attach('disk', use(Disk, { disk }));
          setTimeout(() => open('data'), 1);
        };
      },
    });
    expect(await vm.wait()).toEqual({ reason: 'halted' });
    expect(seen.slice(0, 2)).toEqual([0xff, 0xff]);
    expect(seen.slice(-2)).toEqual([4, 0xff]);
    expect(seen.filter((value) => value === 4)).toHaveLength(1);
    await vm.close();
  });

  it('lets what the device asks of its machine, and what is posted to it, wait until it is there', async () => {
    @Device({ type: 'hasty', summary: '' })
    @Pio({ base: 0x70, size: 1 })
    class Hasty extends Port {
      readonly calls: string[] = [];
      readonly post;
      constructor(
        readonly control: MachineControl,
        inbox: Inbox,
      ) {
        super();
        this.post = inbox.port('rx', () => this.calls.push('rx'));
      }
      onReset() {
        this.post(1);
        this.control.exit(3);
        this.calls.push('reset');
      }
      onResume() {
        this.calls.push('resume');
      }
    }
    const { vm, events } = machine();
    const hasty = await vm.attach('hasty', use(Hasty));
    expect([hasty.calls, events]).toEqual([['reset', 'resume', 'rx'], ['attached hasty']]);
    expect(await vm.wait()).toEqual({ reason: 'exit', code: 3 });
  });

  it('asked for in a handler happens when the access is over', async () => {
    const { vm, outb, inb } = machine();
    const { board } = vm.devices;
    let attached: Promise<Card> | undefined;
    const seen: number[] = [];
    board.act = () => {
      attached = vm.attach('card', use(Card));
      seen.push(vm.map().length);
    };
    outb(0x10, 1);
    seen.push(inb(0x80));
    await attached;
    expect([...seen, inb(0x80)]).toEqual([1, 0xff, 7]);
  });

  it('to a paused machine lets the device sleep until it goes on', async () => {
    const { vm, inb } = machine();
    await vm.pause();
    const card = await vm.attach('card', use(Card));
    card.post('early');
    expect([vm.state, card.calls]).toEqual(['paused', ['reset power']]);
    vm.resume();
    expect([inb(0x80), card.calls]).toEqual([7, ['reset power', 'resume', 'rx early']]);
  });

  it('waits for a reset that is under way, and comes before what is asked for later', async () => {
    const { vm } = machine();
    const reset = vm.reset();
    const attached = vm.attach('card', use(Card));
    const [card] = await Promise.all([attached, reset]);
    expect(card.calls).toEqual(['reset power', 'resume']);
    await vm.reset();
    expect(card.calls.slice(2)).toEqual(['pause', 'reset bus', 'resume']);
  });

  it('does not keep the machine from going on at once', async () => {
    const { vm } = machine();
    await vm.pause();
    const attached = vm.attach('card', use(Card));
    vm.resume();
    expect((await attached).calls).toEqual(['reset power', 'resume']);
  });

  it('is refused by name when the machine does not run yet, has ended, or is closed', async () => {
    const errors: unknown[] = [];
    const { provider } = spiedSim();
    const vm = await start(defineMachine({ memory: '64K', devices: {} }), {
      backend: provider,
      onComposed: (composed) => void composed.attach('card', use(Card)).catch((error: unknown) => errors.push(error)),
    });
    expect(errors).toMatchObject([{ code: 'TL_VM_STATE', message: 'the machine is created, not running or paused' }]);
    const closing = vm.close();
    await expect(vm.attach('card', use(Card))).rejects.toMatchObject({ code: 'TL_VM_CLOSED' });
    await closing;
    await expect(vm.attach('card', use(Card))).rejects.toMatchObject({ code: 'TL_VM_CLOSED' });
    const ended = machine();
    @Device({ type: 'ender', summary: '' })
    @Pio({ base: 0x70, size: 1 })
    class Ender extends Port {
      constructor(readonly control: MachineControl) {
        super();
      }
    }
    (await ended.vm.attach('ender', use(Ender))).control.powerOff();
    await expect(ended.vm.attach('card', use(Card))).rejects.toMatchObject({
      code: 'TL_VM_STATE',
      message: 'the machine is stopped, not running or paused',
    });
  });

  it('is traced and sampled as the others are', async () => {
    const { vm, inb } = machine({ services: { sampleEvery: 2 } });
    const seen: TraceRecord[] = [];
    const stop = vm.traceOn({ device: 'card' }, (record) => seen.push(record));
    await vm.attach('card', use(Card));
    for (let i = 0; i < 6; i++) inb(0x80);
    expect(seen.map(({ client, value, lines }) => [client, value, lines])).toEqual(
      Array.from({ length: 6 }, () => ['card', 7, { irq: false }]),
    );
    stop();
    for (let i = 0; i < 4; i++) inb(0x80);
    expect(seen).toHaveLength(6);
    await vm.detach('card');
    await vm.attach('card', use(Card));
    for (let i = 0; i < 8; i++) inb(0x80);
    expect(vm.counters().find(({ device }) => device === 'card')).toMatchObject({ reads: 8, samples: 4 });
  });

  it('lets a fixed range win over one the guest has programmed, and says so', async () => {
    const { vm, inb, log } = machine();
    const mover = await vm.attach('mover', use(Mover));
    mover.region.map(0x80);
    expect(inb(0x80)).toBe(1);
    await vm.attach('card', use(Card));
    expect([inb(0x80), log.at(-1)?.message]).toEqual([7, 'pio 0x80 of mover.bar lies under card']);
    await vm.detach('card');
    expect(inb(0x80)).toBe(1);
  });

  it('replaces a device that could not be constructed at the start, or has failed', async () => {
    const { vm, inb, failures } = boot({ com1: use(Stillborn, { when: 'now' }) });
    expect(failures).toMatchObject([{ code: 'TL_DEVICE_CONSTRUCTOR', who: 'com1' }]);
    const card = await vm.attach('com1', use(Card));
    card.act = () => {
      throw new Error('broken');
    };
    expect([inb(0x80), failures.length]).toEqual([0xff, 2]);
    await vm.detach('com1');
    await vm.attach('com1', use(Card, { id: 3 }));
    expect(inb(0x80)).toBe(3);
  });
});

const StillbornOptions = z.object({ when: z.string(), disk: resourceOption<string>('disk').optional() });
/** Throws in its constructor, after it has done everything that could leave a trace. */
@Device({ type: 'stillborn', summary: '', irq: 6, options: StillbornOptions })
@Pio({ base: 0x30, size: 1 })
class Stillborn extends Port {
  static last: { clock: Clock; irq: IrqLine; post: (payload: number) => void; region: { map(base: number): void } };
  constructor(irq: IrqLine, decoder: Decoder, inbox: Inbox, clock: Clock, options: Options<{ when: string }>) {
    super();
    const region = decoder.region('bar', 'pio', 1, { read: () => 1, write: () => {} });
    const post = inbox.port('rx', () => {});
    Stillborn.last = { clock, irq, post, region };
    irq.set(true);
    region.map(0x40);
    if (options.when === 'timer') clock.setTimer(5, () => {});
    throw new Error('not today');
  }
}

describe('what is wrong with a device', () => {
  const Everything = z.object({ disk: resourceOption<string>('disk'), hz: z.number() });
  @Device({ type: 'wrong', summary: 'asks for what there is not', irq: 300, options: Everything })
  class Wrong {
    @Pio({ base: 0xfffe, size: 4 }) readonly ports: IoHandler = { read: () => 0, write: () => {} };
    @Pio({ base: 0x10, size: 1 }) readonly over: IoHandler = { read: () => 0, write: () => {} };
    @Mmio({ base: 0xd000_0000, size: 4 }) readonly far: IoHandler = { read: () => 0, write: () => {} };
    @Mmio({ base: 0x1000, size: 4, defer: true, valid: { max: 4 } }) readonly slow: AsyncIoHandler = {
      read: () => 0,
      write: () => {},
    };
    constructor(
      readonly irq: IrqLine,
      readonly msi: Msi,
      readonly options: Options<z.output<typeof Everything>>,
    ) {}
  }
  /** A machine whose backend lacks much. */
  const poor = () =>
    machine({
      wrap: (sim) =>
        Object.assign(sim, {
          capabilities: { ...SIM_JS_CAPABILITIES, msi: false, deferral: false, mmioWindows: [[0, 0xffff]] },
        }),
    });

  it('is said all at once, before anything is opened', async () => {
    const { vm, events } = poor();
    await vm.attach('wrong', use(Card));
    const opened: string[] = [];
    const disk = hostResource<string>('disk', () => {
      opened.push('disk');
      return 'data';
    });
    const problems = await problemsOf(vm.attach('wrong', use(Wrong, { disk, hz: 'fast', speed: 3 } as never)));
    const lines = (list: readonly TraplineError[]) => list.map(({ code, message }) => `${code} ${message}`);
    expect(lines(problems)).toEqual([
      'TL_USAGE wrong: there is a device wrong already',
      expect.stringMatching(/^TL_OPTION wrong: option hz: /),
      'TL_OPTION wrong: unknown option speed',
      'TL_BACKEND_CAPABILITY wrong: message-signalled interrupts, but sim-js has none',
      'TL_BACKEND_CAPABILITY wrong: interrupt line 300, but sim-js has lines 0 to 255',
      'TL_DEFER_UNSUPPORTED wrong: slow defers completion, which sim-js cannot',
      'TL_RANGE wrong.ports: pio 0xfffe-0x10001 leaves the 64 K ports',
      'TL_RANGE_OVERLAP wrong.over: pio 0x10 overlaps board at pio 0x10',
      'TL_BACKEND_CAPABILITY wrong: mmio 0xd0000000-0xd0000003, but sim-js traps only 0x0-0xffff',
    ]);
    expect([opened, events, Object.keys(vm.devices)]).toEqual([[], ['attached wrong'], ['board', 'wrong']]);
  });

  it.each<[string, DeviceClass, object, string]>([
    ['an overlap', Card, { at: pio(0x10) }, 'TL_RANGE_OVERLAP'],
    ['a line that is missing', Card, { irq: { b: 3 } }, 'TL_IRQ'],
    ['a place that is missing', Mover, { at: pio(0x10) }, 'TL_OPTION'],
    ['a class that is no device', class Plain {}, {}, 'TL_DEVICE_CLASS'],
    ['no class at all', undefined as never, {}, 'TL_DEVICE_CLASS'],
    ['a port past the last', Card, { at: pio(0xffff) }, 'TL_RANGE'],
    ['a range where nothing traps', Card, { at: mmio(0xf000_0000) }, 'TL_BACKEND_CAPABILITY'],
  ])('costs nobody anything: %s', async (_what, device, config, code) => {
    const { vm, inb } = poor();
    const problems = await problemsOf(vm.attach('card', { device, config } as never));
    expect(problems.map((problem) => problem.code)).toContain(code);
    expect([Object.keys(vm.devices), vm.map().length, inb(0x10)]).toEqual([['board'], 1, 1]);
    await vm.attach('card', use(Card));
    expect(inb(0x80)).toBe(7);
  });

  it('is found before anything is opened also where only a constructed device shows it', async () => {
    const { vm } = machine();
    const { done, make } = resources();
    const problems = await problemsOf(vm.attach('disk', use(Disk, { at: pio(0x10), disk: make('a') })));
    expect([problems.map(({ code }) => code), done]).toEqual([['TL_RANGE_OVERLAP'], []]);
  });

  it('is not that its constructor uses what is not open yet', async () => {
    const Lengthy = z.object({ disk: resourceOption<string>('disk') });
    @Device({ type: 'eager', summary: '', options: Lengthy })
    @Pio({ base: 0x50, size: 1 })
    class Eager extends Port {
      readonly length: number;
      constructor(options: Options<z.output<typeof Lengthy>>) {
        super();
        this.length = options.disk.length;
      }
    }
    const { vm } = machine();
    const { make } = resources();
    expect((await vm.attach('eager', use(Eager, { disk: make('abc') }))).length).toBe(3);
  });

  it('is not that it shares addresses with others at other sizes', async () => {
    @Device({ type: 'cf8', summary: '' })
    class Wide {
      @Pio({ base: 0xcf8, size: 4, widths: [4], impl: { min: 4 } }) readonly a: IoHandler = {
        read: () => 8,
        write: () => {},
      };
    }
    @Device({ type: 'cf9', summary: '' })
    class Narrow {
      @Pio({ base: 0xcf9, size: 1, widths: [1] }) readonly b: IoHandler = { read: () => 9, write: () => {} };
    }
    const { vm, inb } = machine();
    await vm.attach('wide', use(Wide));
    await vm.attach('narrow', use(Narrow));
    expect([inb(0xcf8, 4), inb(0xcf9, 1)]).toEqual([8, 9]);
  });

  it('may be that another with its id is on its way', async () => {
    const { vm } = machine();
    const first = vm.attach('card', use(Card));
    const [problem] = await problemsOf(vm.attach('card', use(Card, { at: pio(0x84) })));
    expect(problem?.message).toBe('card: there is a device card already');
    await first;
  });

  it('shows when another was quicker: the later of two that overlap is refused, and what it opened closed', async () => {
    const { vm, inb } = machine();
    const { done, make } = resources();
    const late = vm.attach('late', use(Disk, { at: pio(0x80), disk: make('a', () => settle().then(() => 'a')) }));
    await vm.attach('card', use(Card));
    const problems = await problemsOf(late);
    expect(problems.map(({ message }) => message)).toEqual(['late: pio 0x80 overlaps card at pio 0x80-0x81']);
    expect([done, inb(0x80), vm.map().length]).toEqual([['open a', 'close a'], 7, 2]);
  });

  it('may be state the framework cannot see', async () => {
    @Device({ type: 'hider', summary: '' })
    @Pio({ base: 0x50, size: 1 })
    class Hider extends Port {
      readonly #state = state({ n: u8() });
      override read() {
        return this.#state.n;
      }
    }
    const { vm } = machine();
    expect(await problemsOf(vm.attach('hider', use(Hider)))).toMatchObject([{ code: 'TL_STATE_HIDDEN', who: 'hider' }]);
    expect([Object.keys(vm.devices), vm.map().length]).toEqual([['board'], 1]);
  });

  it('is the error of its constructor, which leaves no trace', async () => {
    const { done, make } = resources();
    const { vm, inb, cpu, clock, failures, events } = machine();
    for (const disk of [undefined, make('a')]) {
      const failed = vm.attach('bad', use(Stillborn, { when: 'timer', ...(disk ? { disk } : {}) }));
      await expect(failed).rejects.toMatchObject({
        code: 'TL_DEVICE_CONSTRUCTOR',
        message: 'bad: the constructor of Stillborn threw: not today',
      });
      const { clock: its, irq, post, region } = Stillborn.last;
      irq.set(true);
      post(1);
      region.map(0x41);
      its.setTimer(1, () => events.push('its timer'));
      clock.advance(10);
      expect([inb(0x30), inb(0x40), inb(0x41), cpu.line(6), clock.advanceToNext()]).toEqual([
        0xff,
        0xff,
        0xff,
        false,
        false,
      ]);
    }
    expect(done).toEqual(['open a', 'close a']);
    expect([failures, events, Object.keys(vm.devices), vm.map().length]).toEqual([[], [], ['board'], 1]);
    await vm.attach('bad', use(Card));
  });
});

describe('a device that fails while it is attached', () => {
  @Device({ type: 'sulky', summary: '' })
  @Pio({ base: 0x60, size: 1 })
  class Sulky extends Port {
    onReset() {
      throw new Error('no');
    }
  }
  @Device({ type: 'tired', summary: '' })
  @Pio({ base: 0x60, size: 1 })
  class Tired extends Port {
    onResume() {
      throw new Error('no');
    }
  }

  it('is there, failed, as at the start', async () => {
    const { vm, inb, failures, events } = machine();
    await vm.attach('sulky', use(Sulky));
    expect(failures).toMatchObject([{ code: 'TL_DEVICE_HOOK', who: 'sulky', what: 'onReset threw no' }]);
    expect([inb(0x60), events, vm.map().length]).toEqual([0xff, ['attached sulky'], 2]);
  });

  it.each([
    ['onReset', Sulky],
    ['onResume', Tired],
  ])('may be detached by who is told: %s', async (_hook, device) => {
    const { vm, inb, events } = machine();
    vm.on('device:failed', () => void vm.detach('sulky'));
    await expect(vm.attach('sulky', use(device))).rejects.toMatchObject({
      code: 'TL_VM_STATE',
      message: 'sulky: was detached while it was being attached',
    });
    expect([inb(0x60), events, vm.map().length]).toEqual([0xff, ['detached sulky'], 1]);
    vm.on('device:attached', ({ device: id }) => events.push(`heard ${id}`));
    await vm.attach('sulky', use(Card));
    expect(events.at(-1)).toBe('heard sulky');
  });

  it.each([
    ['onReset', Sulky],
    ['onResume', Tired],
  ])('may end the machine by who is told: %s', async (_hook, device) => {
    const { vm } = machine();
    vm.on('device:failed', () => void vm.close());
    await expect(vm.attach('sulky', use(device))).rejects.toMatchObject({ code: 'TL_VM_CLOSED' });
    expect([Object.keys(vm.devices), vm.map().length]).toEqual([['board'], 1]);
    await vm.close();
    expect(vm.state).toBe('closed');
  });
});

describe('attaching and detaching against the rest of the life of a machine', () => {
  const calls = ['close', 'reset', 'save', 'pause'] as const;

  it.each(calls)('is sound against a %s that is under way, in whatever order they end', async (call) => {
    for (const first of ['attach', 'detach', call] as const) {
      const { vm, sim, inb } = machine();
      await vm.attach('old', use(Card, { at: pio(0xa0) }));
      const slow = gate();
      const pause = sim.pause.bind(sim);
      sim.pause = () => pause().then(() => slow.passed);
      const steps = {
        attach: () => vm.attach('card', use(Card)),
        detach: () => vm.detach('old'),
        [call]: () => vm[call](),
      };
      const order = [first, ...Object.keys(steps).filter((step) => step !== first)] as (keyof typeof steps)[];
      const results = Promise.allSettled(order.map((step) => (steps[step] as () => Promise<unknown>)()));
      await settle();
      slow.open();
      const outcome = Object.fromEntries((await results).map((result, i) => [order[i], result]));
      expect(outcome.detach?.status).toBe('fulfilled');
      const done = outcome.attach as PromiseSettledResult<unknown>;
      const here = Object.keys(vm.devices);
      if (call === 'close') {
        expect([done, vm.state]).toMatchObject([{ reason: { code: 'TL_VM_CLOSED' } }, 'closed']);
        expect(here).toEqual(['board']);
      } else {
        expect([done.status, outcome[call]?.status, here]).toEqual(['fulfilled', 'fulfilled', ['board', 'card']]);
        expect(vm.state).toBe(call === 'pause' ? 'paused' : 'running');
        expect([inb(0x80), inb(0xa0)]).toEqual([7, 0xff]);
      }
    }
  });

  it('ends with the attached device asleep when the machine closes', async () => {
    const { vm } = machine();
    const card = await vm.attach('card', use(Card));
    card.state.n = 9;
    await vm.close();
    expect([card.calls.at(-1), card.state.n]).toEqual(['pause', 0]);
    card.post('late');
    expect(card.calls.at(-1)).toBe('pause');
  });

  it('is refused when the machine ends while a resource is opened; what came is closed', async () => {
    const { done, make } = resources();
    const { vm } = machine();
    const opening = gate<string>();
    const attached = vm.attach('disk', use(Disk, { disk: make('a', () => opening.passed) }));
    (await vm.attach('master', use(Busmaster))).machine.exit(1);
    opening.open('a');
    await expect(attached).rejects.toMatchObject({ code: 'TL_VM_STATE' });
    expect(done).toEqual(['open a', 'close a']);
  });
});
