import { describe, expect, it } from 'vitest';
import { boot, settle } from '../../test/machine.js';
import { Device, Mmio, Pio } from '../device/decorators.js';
import { WORD } from '../ioreq/layout.js';
import { defineMachine, use } from '../machine/define.js';
import { start } from '../machine/start.js';
import type { StreamGuest } from './backend.js';
import { SimJs, simJs } from './sim-js.js';
import { type AccessStream, compileStream, mixRead, STREAM_WORDS, type StreamAccess, StreamCursor } from './stream.js';

@Device({ type: 'streamed', summary: 'says what it was asked' })
class Streamed {
  readonly seen: string[] = [];
  held: ((value: number) => void)[] = [];
  private note(what: string, value?: number) {
    this.seen.push(value === undefined ? what : `${what}=${value.toString(16)}`);
  }
  @Pio({ base: 0x10, size: 8 }) readonly ports = {
    read: (offset: number, size: number) => {
      this.note(`in${size} ${offset}`);
      return 0x8765_4321 % 2 ** (8 * size);
    },
    write: (offset: number, size: number, value: number) => this.note(`out${size} ${offset}`, value),
  };
  @Mmio({ base: 0x1000_0000, size: 0x100 }) readonly registers = {
    read: (offset: number, size: number) => {
      this.note(`read${size} ${offset}`);
      return offset * 0x0101;
    },
    write: (offset: number, size: number, value: number) => this.note(`write${size} ${offset}`, value),
  };
  @Pio({ base: 0x20, size: 1, defer: true }) readonly slow = {
    read: () => new Promise<number>((resolve) => this.held.push(resolve)),
    write: async () => {},
  };
}

const pio = (direction: 'read' | 'write', address: number, size = 1, value?: number | 'last'): StreamAccess => ({
  space: 'pio',
  direction,
  address,
  size,
  ...(value === undefined ? {} : { value }),
});
const mmio = (...[direction, offset, size, value]: Parameters<typeof pio>): StreamAccess => ({
  ...pio(direction, 0x1000_0000 + offset, size, value),
  space: 'mmio',
});

function run(streams: readonly AccessStream[], cpus = 1) {
  const guest: StreamGuest = { kind: 'stream', streams };
  const machine = boot({ dev: use(Streamed) }, { guest, cpus });
  return { ...machine, dev: machine.vm.devices.dev as Streamed };
}

describe('a stream guest on sim-js', () => {
  it('makes its accesses in turn, then halts', async () => {
    const accesses = [
      pio('read', 0x10, 2),
      pio('write', 0x11, 1, 'last'),
      pio('write', 0x12, 2, 0x1_2345),
      mmio('read', 0x20, 4),
      mmio('write', 0x24, 4, 'last'),
    ];
    const { vm, dev, sim } = run([{ accesses, count: 7 }]);
    expect(await vm.wait()).toEqual({ reason: 'halted' });
    expect(dev.seen).toEqual(['in2 0', 'out1 1=21', 'out2 2=2345', 'read4 32', 'write4 36=2020', 'in2 0', 'out1 1=21']);
    const reads = [0x4321, 0x2020, 0x4321];
    const checksum = reads.reduce((sum, value) => mixRead(sum, value, 0), 0);
    expect(sim.cpus[0]?.progress).toEqual({ accesses: 7, checksum, lastLow: 0x4321, lastHigh: 0 });
  });

  it('draws the same accesses from the same seed, and others from another', async () => {
    const accesses = Array.from({ length: 8 }, (_, i) => pio('write', 0x10 + i, 1, i));
    const drawn = async (seed: number) => {
      const { vm, dev } = run([{ accesses, order: 'random', seed, count: 50 }]);
      await vm.wait();
      return dev.seen;
    };
    const first = await drawn(7);
    expect(first).toHaveLength(50);
    expect(await drawn(7)).toEqual(first);
    expect(await drawn(8)).not.toEqual(first);
  });

  it('has one stream for each vCPU, and a vCPU without one makes no access', async () => {
    const streams = [{ accesses: [pio('write', 0x10, 1, 1)] }, { accesses: [pio('write', 0x11, 1, 2)], count: 2 }];
    const { vm, dev } = run(streams, 3);
    await vm.wait();
    expect([...dev.seen].sort()).toEqual(['out1 0=1', 'out1 1=2', 'out1 1=2']);
  });

  it('waits for a deferred access', async () => {
    const { vm, dev, sim } = run([{ accesses: [pio('read', 0x20), pio('write', 0x10, 1, 'last')] }]);
    await settle();
    expect(dev.held).toHaveLength(1);
    expect(sim.cpus[0]?.progress.accesses).toBe(0);
    dev.held[0]?.(0x5a);
    await vm.wait();
    expect(dev.seen).toEqual(['out1 0=5a']);
  });

  it('leaves the event loop its turn, stops while paused and starts again after a reset', async () => {
    const { vm, sim } = run([{ accesses: [pio('read', 0x10)], count: Number.MAX_SAFE_INTEGER }]);
    const made = () => sim.cpus[0]?.progress.accesses ?? 0;
    while (made() < 2000) await new Promise((resolve) => setTimeout(resolve, 1));
    await vm.pause();
    const before = made();
    for (let n = 0; n < 5; n++) await new Promise((resolve) => setTimeout(resolve, 1));
    expect(made()).toBe(before);
    await vm.reset();
    expect(made()).toBe(0);
    await vm.resume();
    while (made() < 2000) await new Promise((resolve) => setTimeout(resolve, 1));
    await vm.close();
    expect(await vm.wait()).toEqual({ reason: 'closed' });
  });

  it('starts again after a reset that waited for a deferred access', async () => {
    const { vm, dev, sim } = run([{ accesses: [pio('read', 0x20), pio('write', 0x10, 1, 'last')] }]);
    await settle();
    const reset = vm.reset();
    dev.held[0]?.(1);
    await reset;
    while (dev.held.length < 2) await settle();
    expect(dev.seen).toEqual([]);
    dev.held[1]?.(2);
    await vm.wait();
    expect(dev.seen).toEqual(['out1 0=2']);
    expect(sim.cpus[0]?.progress.accesses).toBe(2);
  });

  it('waits between two accesses', async () => {
    const times: number[] = [];
    const { vm, dev } = run([{ accesses: [pio('write', 0x10, 1, 1)], count: 3, gapMicroseconds: 5000 }]);
    const push = dev.seen.push.bind(dev.seen);
    dev.seen.push = (...what) => {
      times.push(performance.now());
      return push(...what);
    };
    await vm.wait();
    expect((times[2] as number) - (times[0] as number)).toBeGreaterThan(9);
  });

  it('can be one of several kinds a machine offers, and is refused where it makes no sense', async () => {
    const stream: StreamGuest = { kind: 'stream', streams: [{ accesses: [pio('write', 0x10, 1, 3)] }] };
    const flat = { kind: 'flat' as const, address: 0x1000, image: () => new Uint8Array(1) };
    const machine = (guest: StreamGuest) =>
      defineMachine({ memory: '64K', devices: { dev: use(Streamed) }, guest: [flat, guest] });
    const vm = await start(machine(stream), { backend: simJs() });
    expect(await vm.wait()).toEqual({ reason: 'halted' });
    await vm.close();
    const wrong: StreamGuest = { kind: 'stream', streams: [{ accesses: [pio('read', 0x10, 3)] }] };
    await expect(start(machine(wrong), { backend: simJs() })).rejects.toMatchObject({ code: 'TL_ACCESS_INVALID' });
  });
});

describe('streams', () => {
  /** A stream on a bare sim-js, whose requests `serve` answers or keeps. */
  function bare(accesses: readonly StreamAccess[], serve: (sim: SimJs) => void) {
    const guest: StreamGuest = { kind: 'stream', streams: [{ accesses }] };
    const sim = new SimJs({ cpus: 1, memory: 65536, guest, log: undefined as never });
    const halted = new Promise<void>((resolve) => {
      sim.connect({
        serve: () => serve(sim),
        access: () => 0,
        stopped: () => resolve(),
        resetRequested: () => {},
      });
    });
    sim.run();
    return { sim, halted };
  }

  it('carries 64 bits from a read to a write', async () => {
    const seen: string[] = [];
    const { sim, halted } = bare([mmio('read', 0, 8), mmio('write', 8, 8, 'last')], (self) => {
      const { direction, valueLow, valueHigh } = self.page.decode(0);
      seen.push(`${direction} ${valueHigh.toString(16)} ${valueLow.toString(16)}`);
      if (direction === 'read') {
        self.page.u32[WORD.valueLow] = 0x8000_0001;
        self.page.u32[WORD.valueHigh] = 0xf000_0002;
      }
      self.complete(0, self.generation(0));
    });
    await halted;
    expect(seen[1]).toBe('write f0000002 80000001');
    expect(sim.cpus[0]?.progress).toMatchObject({ lastLow: 0x8000_0001, lastHigh: 0xf000_0002 });
  });

  it('gives up a request in flight at a reset, and starts again once', async () => {
    const requests: { generation: number; direction: string }[] = [];
    const { sim, halted } = bare([pio('read', 0x10), pio('write', 0x10, 1, 'last')], (self) => {
      requests.push({ generation: self.generation(0), direction: self.page.decode(0).direction });
      if (requests.length > 1) self.complete(0, self.generation(0));
    });
    await settle();
    await sim.pause();
    await sim.reset();
    expect(sim.complete(0, requests[0]?.generation as number)).toBe(false);
    sim.run();
    await halted;
    expect(requests.map((request) => request.direction)).toEqual(['read', 'read', 'write']);
  });

  it('draws by xorshift32', () => {
    const cursor = new StreamCursor(1000, true, 1);
    expect([cursor.next(), cursor.next(), cursor.next()]).toEqual([
      270_369 % 1000,
      67_634_689 % 1000,
      2_647_435_461 % 1000,
    ]);
  });

  it.each<[string, AccessStream]>([
    ['no access to repeat', { accesses: [], count: 1 }],
    ['a size no bus has', { accesses: [mmio('read', 0, 3)] }],
    ['eight bytes at a port', { accesses: [pio('read', 0, 8)] }],
    ['no address', { accesses: [pio('read', -1)] }],
    ['a seed of 0', { accesses: [pio('read', 0)], seed: 0 }],
    ['time that runs back', { accesses: [pio('read', 0)], gapMicroseconds: -1 }],
    ['half an access', { accesses: [pio('read', 0)], count: 0.5 }],
  ])('refuses %s', (_, stream) => {
    expect(() => compileStream(stream)).toThrow(expect.objectContaining({ code: 'TL_ACCESS_INVALID' }));
  });

  it('has six words for each access', () => {
    const { words } = compileStream({ accesses: [mmio('write', 4, 8, 0xffff_ffff)] });
    expect([...words]).toEqual([3, 8, 0x1000_0004, 0, -1, 0]);
    expect(words).toHaveLength(STREAM_WORDS);
  });
});
