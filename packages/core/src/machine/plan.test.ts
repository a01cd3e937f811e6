import { describe, expect, it } from 'vitest';
import { z } from 'zod';
import { SIM_JS_CAPABILITIES } from '../backend/sim-js.js';
import { mmio, pio } from '../device/attachment.js';
import { Device, Irq, Mmio, Pio } from '../device/decorators.js';
import type { IoHandler } from '../device/handler.js';
import { IrqLine, Msi, Options } from '../device/tokens.js';
import { TraplineError } from '../errors.js';
import { defineMachine, type MachineSpec, use } from './define.js';
import { capabilityProblems, type DevicePlan, planMachine, windowProblems } from './plan.js';
import { checkMachine } from './start.js';

const Schema = z.object({
  hz: z.number().int().positive().default(100),
  name: z.string().optional(),
  deep: z.object({ list: z.array(z.number()).default([1]) }).default({ list: [1] }),
});

@Device({ type: 'plain', summary: 'no options, no line' })
@Pio({ base: 0x10, size: 1 })
class Plain implements IoHandler {
  read() {
    return 0;
  }
  write() {}
}

@Device({ type: 'rich', summary: 'options, lines and two regions', options: Schema })
class Rich {
  @Pio({ base: 0x20, size: 4 }) readonly ports: IoHandler = { read: () => 0, write: () => {} };
  @Mmio({ base: 0xd000_0000, size: 16 }) readonly window: IoHandler = { read: () => 0, write: () => {} };
  constructor(
    readonly irq: IrqLine,
    @Irq('dma', { default: 7 }) readonly dma: IrqLine,
    readonly options: Options<z.output<typeof Schema>>,
  ) {}
}

function plan(devices: object, more: Partial<MachineSpec> = {}) {
  const problems: TraplineError[] = [];
  const made = planMachine(defineMachine({ memory: '4K', ...more, devices: devices as never }), problems);
  return { made, problems, texts: problems.map((problem) => problem.message) };
}
const rich = (config: object) => plan({ dev: use(Rich, config as never) });

describe('a machine plan', () => {
  it('has options with their defaults, lines and places', () => {
    const { made, problems } = rich({ irq: 5, hz: 50, at: { window: mmio(0xe000_0000) } });
    expect(problems).toEqual([]);
    const [device] = made.devices;
    expect(device?.options).toEqual({ hz: 50, deep: { list: [1] } });
    expect([...(device?.lines ?? [])]).toEqual([
      ['', 5],
      ['dma', 7],
    ]);
    expect(device?.places.get('window')?.base).toBe(0xe000_0000);
  });

  it.each<[string, object, RegExp]>([
    ['an unknown option', { irq: 1, speed: 5 }, /dev: unknown option speed/],
    ['an option of the wrong type', { irq: 1, hz: 'fast' }, /option hz: /],
    ['an option out of range', { irq: 1, hz: -1 }, /option hz: /],
    ['a wrong option in an option', { irq: 1, deep: { list: ['x'] } }, /option deep\.list\.0: /],
    ['a line without a number', {}, /needs a number for interrupt line irq/],
    ['a line nobody has', { irq: { irq: 1, txd: 2 } }, /has no interrupt line txd/],
    ['a line that is no number', { irq: { irq: 1.5 } }, /cannot use interrupt line 1\.5/],
    ['one place for two regions', { irq: 1, at: pio(0x80) }, /one place for 2 regions/],
    ['a region nobody has', { irq: 1, at: { fifo: pio(0x80) } }, /has no region fifo/],
  ])('refuses %s', (_what, config, message) => {
    const { texts } = rich(config);
    expect(texts).toHaveLength(1);
    expect(texts[0]).toMatch(message);
  });

  it('says which options and lines there are', () => {
    expect(rich({ irq: 1, speed: 5 }).problems[0]?.fix).toBe('rich has: hz, name, deep, at, irq');
    expect(plan({ dev: use(Plain, { speed: 5 } as never) }).problems[0]?.fix).toBe('plain has: at, irq');
    expect(plan({ dev: use(Plain, { irq: 5 }) }).problems[0]?.fix).toBe('plain drives no interrupt line: drop irq');
  });

  it.each<[string, object, RegExp]>([
    ['a class without @Device', { dev: use(class Bare {} as never) }, /Bare is not decorated/],
    ['no class at all', { dev: use(undefined as never) }, /undefined is no device class/],
    ['an entry that is nothing', { dev: null }, /undefined is no device class/],
  ])('refuses %s', (_what, devices, message) => {
    expect(plan(devices).texts).toEqual([expect.stringMatching(message)]);
  });

  it.each([0, 17, 1.5, Number.NaN])('refuses %s vCPUs', (cpus) => {
    expect(plan({}, { cpus }).problems[0]?.message).toMatch(/1 to 16/);
  });

  it('takes a schema that throws for a problem of its device', () => {
    const options = z.object({
      n: z.number().transform(() => {
        throw new Error('bad schema');
      }),
    });
    @Device({ type: 'thrower', summary: '', options })
    class Thrower extends Plain {}
    expect(plan({ dev: use(Thrower, { n: 1 } as never) }).texts[0]).toMatch(/schema of Thrower threw bad schema/);
  });

  it('collects everything that is wrong, in one list', () => {
    const { problems } = plan(
      { a: use(Rich, { speed: 1 } as never), b: use(class {} as never), c: use(Plain, { irq: 1 }) },
      { memory: 'lots', cpus: 99 },
    );
    expect(problems.map(({ who, code }) => `${who} ${code}`)).toEqual([
      'memory TL_MEMORY_SIZE',
      'cpus TL_OPTION',
      'a TL_OPTION',
      'a TL_IRQ',
      'b TL_DEVICE_CLASS',
      'c TL_IRQ',
    ]);
  });

  it('shares no nested option between two machines', () => {
    const machine = defineMachine({ memory: '4K', devices: { dev: use(Rich, { irq: 1 }) } });
    const list = () => (planMachine(machine, []).devices[0] as DevicePlan).options.deep as { list: number[] };
    list().list.push(9);
    expect(list()).toEqual({ list: [1] });
  });
});

describe('a check', () => {
  it('reports overlaps with both owners beside everything else, and constructs only sound devices', () => {
    const { problems } = checkMachine(
      defineMachine({
        memory: '5',
        devices: { a: use(Plain), b: use(Plain), c: use(Rich, { hz: 0 } as never), d: use(Plain) },
      }),
    );
    const overlaps = problems.filter(({ code }) => code === 'TL_RANGE_OVERLAP').map(({ details }) => details);
    expect(overlaps).toEqual([
      { first: 'a', second: 'b' },
      { first: 'a', second: 'd' },
      { first: 'b', second: 'd' },
    ]);
    expect(problems.map(({ code }) => code).filter((code) => code === 'TL_DEVICE_CONSTRUCTOR')).toEqual([]);
    expect(problems).toHaveLength(6);
  });
});

describe('capabilities', () => {
  const has = { ...SIM_JS_CAPABILITIES, maxVcpus: 2, maxMemory: 8192, irqLines: 8, deferral: false, msi: false };

  it('that a backend lacks are named with both figures, all at once', () => {
    @Device({ type: 'waiting', summary: '' })
    class Waiting {
      @Mmio({ base: 0x1000, size: 4, defer: true }) readonly slow = { read: async () => 0, write: async () => {} };
      constructor(readonly msi: Msi) {}
    }
    const script = { kind: 'script' as const, script: () => {} };
    const { made } = plan({ w: use(Waiting), r: use(Rich, { irq: 8 }) }, { cpus: 3, memory: '12K', guest: script });
    const texts = capabilityProblems(made, 'tiny', { ...has, guests: ['flat'] }).map(({ message }) => message);
    expect(texts).toEqual([
      'cpus: 3 vCPUs, but tiny has at most 2',
      'memory: 12288 bytes of memory, but tiny has at most 8192',
      'guest: is of kind script, and tiny runs only: flat',
      'w: message-signalled interrupts, but tiny has none',
      'w: slow defers completion, which tiny cannot',
      'r: interrupt line 8, but tiny has lines 0 to 7',
    ]);
  });

  it('that suffice are no problem', () => {
    expect(capabilityProblems(plan({ dev: use(Plain) }).made, 'tiny', has)).toEqual([]);
  });

  it('include the windows whose accesses trap', () => {
    const row = (first: number, last: number, space: 'pio' | 'mmio' = 'mmio') => ({
      space,
      first,
      last,
      device: 'd',
      region: '',
      type: 't',
    });
    const windows = { ...has, mmioWindows: [[0x1000, 0x1fff]] as const };
    const problems = windowProblems([row(0x1000, 0x1fff), row(0x1ffc, 0x2003), row(0, 1, 'pio')], 'tiny', windows);
    expect(problems.map(({ message }) => message)).toEqual([
      'd: mmio 0x1ffc-0x2003, but tiny traps only 0x1000-0x1fff',
    ]);
    expect(problems[0]).toBeInstanceOf(TraplineError);
  });
});
