import { describe, expect, it } from 'vitest';
import { z } from 'zod';
import { spiedSim } from '../../test/machine.js';
import { simJs } from '../backend/sim-js.js';
import { pio } from '../device/attachment.js';
import { Device, Mmio, Pio } from '../device/decorators.js';
import { hostResource, resourceOption } from '../device/host-resource.js';
import { MachineControl, Options } from '../device/tokens.js';
import { CompositionError, TraplineError } from '../errors.js';
import { defineMachine, use } from './define.js';
import { checkMachine, start } from './start.js';

const Schema = z.object({ disk: resourceOption<{ name: string }>('disk') });

@Device({ type: 'disk', summary: 'has a host resource', options: Schema })
@Pio({ size: 1 })
class Disk {
  constructor(
    readonly options: Options<z.output<typeof Schema>>,
    readonly machine: MachineControl,
  ) {}
  read() {
    return 0;
  }
  write(_offset: number, _size: number, value: number) {
    this.machine.exit(value);
  }
}

/** Host resources that write down what is done to them. */
function resources() {
  const done: string[] = [];
  const make = (name: string, open: () => { name: string } | Promise<{ name: string }> = () => ({ name })) =>
    hostResource<{ name: string }>(
      name,
      () => {
        done.push(`open ${name}`);
        return open();
      },
      (opened) => {
        done.push(`close ${opened.name}`);
        if (name.startsWith('stuck')) throw new Error('cannot close');
      },
    );
  return { done, make };
}
const disk = (resource: ReturnType<typeof hostResource<{ name: string }>>, port: number) =>
  use(Disk, { at: pio(port), disk: resource });
const machineOf = (devices: Record<string, ReturnType<typeof disk>>) => defineMachine({ memory: '64K', devices });

describe('starting a machine', () => {
  it('opens resources in order, gives them to devices, and closes them in reverse', async () => {
    const { done, make } = resources();
    const [a, b] = [make('a'), make('b', async () => ({ name: 'b' }))];
    const vm = await start(machineOf({ one: disk(a, 1), two: disk(b, 2), same: disk(a, 3) }), { backend: 'sim-js' });
    expect(done).toEqual(['open a', 'open b']);
    expect(vm.devices.same?.options.disk).toBe(vm.devices.one?.options.disk);
    expect(vm.devices.two?.options.disk.name).toBe('b');
    await vm.close();
    expect(done).toEqual(['open a', 'open b', 'close b', 'close a']);
  });

  it('closes what was opened when the next cannot be', async () => {
    const { done, make } = resources();
    const broken = make('broken', async () => {
      throw new Error('EACCES');
    });
    const failed = start(machineOf({ one: disk(make('a'), 1), two: disk(broken, 2) }), { backend: 'sim-js' });
    await expect(failed).rejects.toMatchObject({
      code: 'TL_HOST_RESOURCE',
      message: 'two: disk: broken cannot be opened: EACCES',
    });
    expect(done).toEqual(['open a', 'open broken', 'close a']);
  });

  it('closes everything when composing fails, one that cannot be closed notwithstanding', async () => {
    const { done, make } = resources();
    const devices = { one: disk(make('a'), 1), two: disk(make('stuck'), 1), three: disk(make('c'), 1) };
    await expect(start(machineOf(devices), { backend: 'sim-js' })).rejects.toMatchObject({ code: 'TL_COMPOSITION' });
    expect(done.slice(3)).toEqual(['close c', 'close stuck', 'close a']);
  });

  it('closes everything when the backend cannot be opened', async () => {
    const { done, make } = resources();
    const { provider } = spiedSim(() => {}, { open: () => Promise.reject(new Error('no /dev/kvm')) });
    await expect(start(machineOf({ one: disk(make('a'), 1) }), { backend: provider })).rejects.toThrow('no /dev/kvm');
    expect(done).toEqual(['open a', 'close a']);
  });

  it.each(['run', 'connect'] as const)('closes everything when the backend fails in %s', async (step) => {
    const { done, make } = resources();
    let closed = 0;
    const { provider } = spiedSim((sim) => {
      const close = sim.close.bind(sim);
      sim.close = () => {
        closed++;
        return close();
      };
      sim[step] = () => {
        throw new Error('no vCPU');
      };
    });
    await expect(start(machineOf({ one: disk(make('a'), 1) }), { backend: provider })).rejects.toThrow('no vCPU');
    expect(closed).toBeGreaterThan(0);
    expect(done).toEqual(['open a', 'close a']);
  });

  it('closes the backend of a machine that was closed before it ran', async () => {
    let closed = 0;
    const { provider } = spiedSim((sim) => {
      sim.close = async () => {
        closed++;
      };
    });
    const onComposed = (vm: { close(): Promise<void> }) => void vm.close();
    await expect(start(machineOf({}), { backend: provider, onComposed })).rejects.toThrow('not created');
    expect(closed).toBe(1);
  });

  it('closes the backend when a listener throws before the machine runs', async () => {
    let closed = 0;
    const { provider } = spiedSim((sim) => {
      sim.close = async () => {
        closed++;
      };
    });
    const onComposed = () => {
      throw new Error('no');
    };
    await expect(start(machineOf({}), { backend: provider, onComposed })).rejects.toThrow('no');
    expect(closed).toBe(1);
  });

  it('says every problem at once, overlaps too, and opens nothing', async () => {
    const { done, make } = resources();
    const machine = defineMachine({
      memory: '5',
      devices: { a: disk(make('a'), 1), b: disk(make('b'), 1), c: use(Disk, { at: pio(9), speed: 1 } as never) },
    });
    const thrown = await start(machine, { backend: 'nobody' }).catch((error: unknown) => error as CompositionError);
    expect((thrown as CompositionError).problems.map(({ code }) => code)).toEqual([
      'TL_MEMORY_SIZE',
      'TL_OPTION',
      'TL_OPTION',
      'TL_BACKEND_UNKNOWN',
      'TL_RANGE_OVERLAP',
    ]);
    expect(done).toEqual([]);
  });

  it('refuses a range where the backend traps nothing', async () => {
    @Device({ type: 'far', summary: '' })
    class Far {
      @Mmio({ base: 0x9000, size: 4 }) readonly regs = { read: () => 0, write: () => {} };
    }
    const { provider, opened } = spiedSim();
    const narrow = {
      ...provider,
      probe: () => {
        const probe = simJs().probe() as Awaited<ReturnType<typeof provider.probe>>;
        return { ...probe, capabilities: { ...probe.capabilities, mmioWindows: [[0, 0xfff]] as const } };
      },
    };
    const machine = defineMachine({ memory: '4K', devices: { far: use(Far) } });
    await expect(start(machine, { backend: narrow })).rejects.toThrow(/far: mmio 0x9000-0x9003/);
    expect(opened).toEqual([]);
  });

  it('refuses what is no machine', async () => {
    await expect(start({ memory: '4K', devices: {} } as never)).rejects.toMatchObject({ code: 'TL_MACHINE_FILE' });
  });

  it('tells which backend it took and why, and calls onComposed before the first instruction', async () => {
    const order: string[] = [];
    const guest = { kind: 'script' as const, script: () => void order.push('guest') };
    const vm = await start(defineMachine({ memory: '4K', devices: {}, guest }), {
      onBackend: ({ provider, why }) => order.push(`${provider.name}: ${why}`),
      onComposed: ({ state }) => order.push(state),
    });
    expect(await vm.wait()).toEqual({ reason: 'halted' });
    expect(order).toEqual(['sim-js: it runs everywhere: the guest is a script', 'created', 'guest']);
    await vm.close();
  });
});

describe('a check', () => {
  it('opens nothing, and devices that use a resource in their constructor are told so', () => {
    @Device({ type: 'eager', summary: '', options: Schema })
    @Pio({ size: 1 })
    class Eager extends Disk {
      constructor(options: Options<z.output<typeof Schema>>, machine: MachineControl) {
        super(options, machine);
        void options.disk.name;
      }
    }
    const { done, make } = resources();
    const eager = use(Eager, { at: pio(1), disk: make('a') });
    const { problems } = checkMachine(defineMachine({ memory: '4K', devices: { eager } }));
    expect(problems.map(({ message }) => message)).toEqual(['eager: the constructor of Eager threw: a: a is not open']);
    expect(done).toEqual([]);
  });

  it('gives the address map and the lines', () => {
    const { make } = resources();
    expect(checkMachine(machineOf({ one: disk(make('a'), 0x70) }))).toEqual({
      problems: [],
      map: [{ space: 'pio', first: 0x70, last: 0x70, device: 'one', region: '', type: 'disk' }],
      lines: [],
    });
    expect(new TraplineError('TL_USAGE', 'x')).toBeInstanceOf(Error);
  });
});
