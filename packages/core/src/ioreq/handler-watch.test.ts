import { describe, expect, it } from 'vitest';
import { boot, settle } from '../../test/machine.js';
import { FakeWatch } from '../../test/watch.js';
import type { SimCpu } from '../backend/sim-js.js';
import { timer } from '../device/cells.js';
import { Device, Mmio, Pio } from '../device/decorators.js';
import type { IoHandler } from '../device/handler.js';
import { state } from '../device/state.js';
import { Clock, Decoder, Inbox } from '../device/tokens.js';
import { TraplineError } from '../errors.js';
import { use } from '../machine/define.js';
import { WATCH } from './handler-watch.js';

/** What every handler of these tests does. */
let inside: () => unknown = () => 0;
const handler = { read: () => inside() as number, write: () => void inside() };
const waiting = { read: () => inside() as Promise<number>, write: async () => {} };

@Device({ type: 'everything', summary: 'regions of every kind' })
class Everything {
  @Pio({ base: 0x10, size: 4 }) readonly plain: IoHandler = handler;
  @Pio({ base: 0x20, size: 4, impl: { min: 2 } }) readonly adapted: IoHandler = { ...handler };
  @Mmio({ base: 0x12_8000_0000, size: 8 }) readonly far: IoHandler = { ...handler };
}

/** A machine whose handlers note what the watch sees while they run. */
function watched(cpus = 1) {
  const watch = new FakeWatch();
  const booted = boot({ one: use(Everything) }, { cpus, services: { watch } });
  const seen: string[][] = [];
  inside = () => {
    seen.push(watch.running());
    return 0;
  };
  return { ...booted, watch, seen };
}

describe('while a handler runs, the watch sees', () => {
  it.each([
    ['plain', 0x10, 1, 'pio', '10'],
    ['adapted', 0x21, 1, 'pio', '21'],
    ['far', 0x12_8000_0004, 4, 'mmio', '1280000004'],
  ] as const)('its access: %s', (_name, address, size, space, shown) => {
    const { cpu, watch, seen } = watched();
    cpu.read(space, address, size);
    cpu.write(space, address, size, 5);
    expect(seen).toEqual([[`one read ${size} ${space} ${shown} cpu0`], [`one write ${size} ${space} ${shown} cpu0`]]);
    expect(watch.running()).toEqual([]);
  });

  it('another sequence at every access', () => {
    const { cpu, watch } = watched();
    const sequences: unknown[] = [];
    inside = () => {
      sequences.push(watch.sequences()[0]);
      return 0;
    };
    for (let i = 0; i < 3; i++) cpu.read('pio', 0x10, 1);
    expect(sequences).toEqual([sequences[0], (sequences[0] as number) + 2, (sequences[0] as number) + 4]);
  });

  it('an access without a slot, and one that is traced', () => {
    const { sim, vm, cpu, seen } = watched();
    const { host } = sim as unknown as { host: { access(...args: unknown[]): number } };
    host.access(3, 'pio', false, 0x12, 2, 0);
    vm.traceOn({}, () => {});
    cpu.read('pio', 0x12, 2);
    expect(seen).toEqual([['one read 2 pio 12 cpu3'], ['one read 2 pio 12 cpu0']]);
  });

  it.each([
    ['throws', 0x10],
    ['throws behind an adapter', 0x20],
    ['returns what does not fit', 0x10],
  ])('nothing any more once it %s', (what, address) => {
    const { cpu, watch, failures } = watched();
    inside = () => {
      if (what.startsWith('throws')) throw new Error('no');
      return -1;
    };
    cpu.read('pio', address, 1);
    expect([failures.length, watch.running()]).toEqual([1, []]);
  });
});

describe('a handler inside a handler', () => {
  it('is seen beside it, and takes nothing from it', () => {
    const { sim, watch } = watched(2);
    const [a, b] = sim.cpus as [SimCpu, SimCpu];
    const seen: string[][] = [];
    const sequences = new Set<unknown>();
    const look = () => {
      seen.push(watch.running());
      sequences.add(watch.sequences()[0]);
    };
    inside = () => {
      look();
      inside = () => {
        look();
        throw new Error('no');
      };
      b.write('mmio', 0x12_8000_0000, 4, 1);
      look();
      return 0;
    };
    a.read('pio', 0x10, 1);
    const outer = 'one read 1 pio 10 cpu0';
    expect(seen).toEqual([[outer], [outer, 'one write 4 mmio 1280000000 cpu1'], [outer]]);
    expect(sequences.size).toBe(1);
    expect(watch.running()).toEqual([]);
  });

  it('deeper than there are frames is the time of those around it', () => {
    const { sim, watch } = watched(16);
    let most: string[] = [];
    let depth = 0;
    inside = () => {
      most = watch.running();
      if (++depth < 12) (sim.cpus[depth] as SimCpu).read('pio', 0x10, 1);
      return 0;
    };
    (sim.cpus[0] as SimCpu).read('pio', 0x10, 1);
    expect([depth, most.length, most.at(-1)]).toEqual([12, WATCH.frames, `one read 1 pio 10 cpu${WATCH.frames - 1}`]);
    expect(watch.running()).toEqual([]);
    inside = () => {
      most = watch.running();
      return 0;
    };
    (sim.cpus[0] as SimCpu).read('pio', 0x10, 1);
    expect(most).toEqual(['one read 1 pio 10 cpu0']);
  });
});

@Device({ type: 'waiting', summary: 'answers later' })
class Waiting {
  @Pio({ base: 0x30, size: 4, defer: true }) readonly slow = waiting;
  @Pio({ base: 0x40, size: 4 }) readonly plain: IoHandler = { ...handler };
}

describe('a handler that answers later', () => {
  it('is seen until it waits, and so is what waited for it', async () => {
    const watch = new FakeWatch();
    const { sim } = boot({ late: use(Waiting) }, { cpus: 2, services: { watch } });
    const [a, b] = sim.cpus as [SimCpu, SimCpu];
    const seen: string[][] = [];
    let answer: (value: number) => void = () => {};
    inside = () => {
      seen.push(watch.running());
      inside = () => {
        seen.push(watch.running());
      };
      return new Promise((resolve) => {
        answer = resolve;
      });
    };
    const first = a.readAsync('pio', 0x31, 1);
    const second = b.writeAsync('pio', 0x42, 2, 7);
    await settle();
    expect([seen, watch.running()]).toEqual([[['late read 1 pio 31 cpu0']], []]);
    answer(0);
    await Promise.all([first, second]);
    expect([seen[1], watch.running()]).toEqual([['late write 2 pio 42 cpu1'], []]);
  });

  it.each([
    [
      'threw at once',
      () => {
        throw new Error('no');
      },
    ],
    [
      'returned what throws when it is asked',
      () =>
        Object.assign(Promise.resolve(0), {
          // biome-ignore lint/suspicious/noThenProperty: it is what this is about
          then() {
            throw new Error('no');
          },
        }),
    ],
  ])('is not seen any more after it %s', async (_what, act) => {
    const watch = new FakeWatch();
    const { cpu, failures } = boot({ late: use(Waiting) }, { services: { watch } });
    inside = act;
    await cpu.readAsync('pio', 0x30, 1);
    expect([failures.length, watch.running()]).toEqual([1, []]);
  });
});

describe('other device code is seen with the name of what it is', () => {
  it('from the constructor to the inbox', async () => {
    const watch = new FakeWatch();
    const seen: string[][] = [];
    const look = () => seen.push(watch.running());
    const migrate = ({ parts }: { readonly parts: Readonly<Record<string, unknown>> }) => {
      look();
      return parts;
    };
    @Device({ type: 'busy', summary: 'is called in every way', version: 2, migrate })
    class Busy {
      readonly state = state({ own: timer(() => look()) });
      readonly post: (payload: unknown) => void;
      constructor(
        readonly clock: Clock,
        inbox: Inbox,
      ) {
        this.post = inbox.port('rx', look);
        look();
      }
      onReset() {
        look();
        this.state.own.at(5);
        this.clock.setTimer(6, look);
      }
      onPause() {
        look();
        throw new Error('no');
      }
    }
    const { vm, clock } = boot({ busy: use(Busy) }, { services: { watch } });
    clock.advance(10);
    vm.devices.busy.post(1);
    const saved = vm.inspectDevice('busy')?.save();
    vm.inspectDevice('busy')?.check({ ...saved, version: 1 });
    await vm.pause();
    // A timer of state is inside one of the clock's: the innermost says what it is.
    expect(seen.map((frames) => frames.at(-1))).toEqual([
      'busy its constructor',
      'busy onReset',
      'busy timer own',
      'busy a timer',
      'busy inbox port rx',
      'busy migrate',
      'busy onPause',
    ]);
    expect(watch.running()).toEqual([]);
    await vm.close();
  });
});

it('names a range the guest has moved', () => {
  @Device({ type: 'mover', summary: 'decodes where it is told' })
  class Mover {
    readonly bar;
    constructor(decoder: Decoder) {
      this.bar = decoder.region('bar', 'pio', 1, handler);
    }
  }
  const watch = new FakeWatch();
  const { vm, cpu } = boot({ one: use(Mover), two: use(Mover) }, { services: { watch } });
  const seen: string[][] = [];
  inside = () => {
    seen.push(watch.running());
    return 0;
  };
  vm.devices.one.bar.map(0x50);
  cpu.read('pio', 0x50, 1);
  vm.devices.one.bar.unmap();
  vm.devices.two.bar.map(0x60);
  cpu.read('pio', 0x60, 1);
  expect(seen).toEqual([['one read 1 pio 50 cpu0'], ['two read 1 pio 60 cpu0']]);
});

it('a machine goes on when nobody watches any more, even from inside a handler', () => {
  const { cpu, watch, failures } = watched();
  let served = 0;
  inside = () => {
    if (served++ === 0) structuredClone(watch.words.buffer, { transfer: [watch.words.buffer] });
    return 0;
  };
  for (let i = 0; i < 3; i++) cpu.read('pio', 0x10, 1);
  expect([served, watch.words.length, failures]).toEqual([3, 0, []]);
});

it('a handler that took too long ends its machine', async () => {
  const { vm, watch } = watched();
  const error = new TraplineError('TL_HANDLER_TIMEOUT', 'read of 1 at pio 0x10 did not return within 10 s', {
    who: 'one',
  });
  watch.expired(error);
  expect(await vm.wait()).toEqual({ reason: 'backend-failed', error });
  await vm.close();
});
