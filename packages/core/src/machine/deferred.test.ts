import { afterEach, beforeEach, describe, expect, it, vi } from 'vitest';
import { boot } from '../../test/machine.js';
import type { SimCpu } from '../backend/sim-js.js';
import { Device, Pio } from '../device/decorators.js';
import { Inbox, IrqLine } from '../device/tokens.js';
import { STATE } from '../ioreq/layout.js';
import { use } from './define.js';

interface Held {
  readonly offset: number;
  readonly value: number | undefined;
  resolve(value: unknown): void;
  reject(thrown: unknown): void;
}

/** Holds every access until the test lets it go. */
class Holding {
  readonly held: Held[] = [];
  hold(offset: number, value?: number): Promise<number> {
    return new Promise((resolve, reject) =>
      this.held.push({ offset, value, resolve: resolve as (value: unknown) => void, reject }),
    );
  }
}

@Device({ type: 'holding', summary: 'answers when told to', irq: 5 })
class Device1 extends Holding {
  @Pio({ base: 0x10, size: 4, defer: true, deadlineMs: 100 }) readonly slow = {
    read: (offset: number) => this.hold(offset),
    write: (offset: number, _size: number, value: number) =>
      this.hold(offset, value) as Promise<unknown> as Promise<void>,
  };
  @Pio({ base: 0x20, size: 4, defer: true, concurrent: true }) readonly wide = {
    read: (offset: number) => this.hold(0x100 + offset),
    write: async () => {},
  };
  @Pio({ base: 0x30, size: 4, defer: true }) readonly odd = { read: (): unknown => 0, write: () => {} } as {
    read(): number;
    write(): void;
  };
  @Pio({ base: 0x40, size: 4 }) readonly plain = { read: () => this.held.length, write: () => {} };
  constructor(
    readonly irq: IrqLine,
    readonly inbox: Inbox,
  ) {
    super();
  }
}

beforeEach(() => {
  vi.useFakeTimers({ toFake: ['setTimeout', 'clearTimeout'] });
});
afterEach(() => {
  vi.useRealTimers();
});

function holding(services = {}) {
  const booted = boot({ dev: use(Device1) }, { cpus: 3, services });
  const device = booted.vm.devices.dev;
  const [a, b, c] = booted.sim.cpus as [SimCpu, SimCpu, SimCpu];
  return { ...booted, device, held: device.held, a, b, c };
}
const tick = async () => {
  for (let i = 0; i < 10; i++) await Promise.resolve();
};

describe('a deferred access', () => {
  it('completes when its promise settles; the vCPU waits', async () => {
    const { a, held, sim } = holding();
    const answer = a.readAsync('pio', 0x11, 1);
    await tick();
    expect(sim.page.state(0)).toBe(STATE.PROCESSING);
    held[0]?.resolve(0x5a);
    expect(await answer).toBe(0x5a);
    expect(sim.page.state(0)).toBe(STATE.FREE);
    expect(held[0]?.offset).toBe(1);
  });

  it('cannot be read synchronously, and says what to do', () => {
    const { a } = holding();
    expect(() => a.read('pio', 0x10, 1)).toThrow(expect.objectContaining({ fix: 'await readAsync instead' }));
  });

  it('makes a second vCPU wait for the same device, in order', async () => {
    const { a, b, c, held } = holding();
    const done: string[] = [];
    a.writeAsync('pio', 0x10, 1, 1).then(() => done.push('a'));
    b.writeAsync('pio', 0x10, 1, 2).then(() => done.push('b'));
    c.writeAsync('pio', 0x11, 1, 3).then(() => done.push('c'));
    await tick();
    expect(held.map(({ value }) => value)).toEqual([1]);
    for (let i = 0; i < 3; i++) {
      held[i]?.resolve(undefined);
      await tick();
    }
    expect([held.map(({ value }) => value), done]).toEqual([
      [1, 2, 3],
      ['a', 'b', 'c'],
    ]);
  });

  it('makes a second vCPU wait also for a region that does not wait itself', async () => {
    const { held, a, b, c } = holding();
    const first = a.readAsync('pio', 0x10, 1);
    let answered = false;
    const plain = b.readAsync('pio', 0x40, 1).finally(() => {
      answered = true;
    });
    const second = c.readAsync('pio', 0x11, 1);
    await tick();
    expect([held.length, answered]).toEqual([1, false]);
    held[0]?.resolve(7);
    expect(await first).toBe(7);
    expect(await plain).toBe(1);
    held[1]?.resolve(8);
    expect(await second).toBe(8);
    expect(a.read('pio', 0x40, 1)).toBe(2);
  });

  it('lets a second vCPU read such a region while what waits is concurrent', async () => {
    const { held, a, b } = holding();
    const first = a.readAsync('pio', 0x20, 1);
    await Promise.resolve();
    expect(b.read('pio', 0x40, 1)).toBe(1);
    held[0]?.resolve(7);
    expect(await first).toBe(7);
  });

  it('lets a second vCPU in where it is declared concurrent', async () => {
    const { a, b, held } = holding();
    const [one, two] = [a.readAsync('pio', 0x20, 1), b.readAsync('pio', 0x21, 1)];
    await tick();
    expect(held.map(({ offset }) => offset)).toEqual([0x100, 0x101]);
    held[1]?.resolve(2);
    expect(await two).toBe(2);
    held[0]?.resolve(1);
    expect(await one).toBe(1);
  });

  it('keeps the requests of one vCPU in order', async () => {
    const { a, held } = holding();
    const seen: number[] = [];
    const script = (async () => {
      for (let i = 0; i < 3; i++) seen.push(await a.readAsync('pio', 0x10, 1));
    })();
    for (let i = 0; i < 3; i++) {
      await tick();
      held[i]?.resolve(i);
    }
    await script;
    expect(seen).toEqual([0, 1, 2]);
  });

  it.each([5n, 'text', undefined, Number.NaN, -1, { not: 'a number' }])(
    'reads all ones and fails when it answers %o',
    async (value) => {
      const { a, held, failures } = holding();
      const answer = a.readAsync('pio', 0x10, 1);
      await tick();
      held[0]?.resolve(value);
      expect(await answer).toBe(0xff);
      expect(failures).toMatchObject([{ code: 'TL_DEVICE_VALUE', who: 'dev' }]);
    },
  );

  it.each([5n, Symbol('x'), undefined, '7'])('is no less checked when it answers %s at once', async (value) => {
    const { a, device, failures } = holding();
    device.odd.read = () => value as never;
    expect(await a.readAsync('pio', 0x30, 4)).toBe(0xffff_ffff);
    expect(failures).toHaveLength(1);
  });

  it('reads all ones and fails when it rejects; what waited is finished too', async () => {
    const { a, b, c, held, failures, inb } = holding();
    const answers = Promise.all([a, b, c].map((cpu) => cpu.readAsync('pio', 0x10, 2)));
    await tick();
    held[0]?.reject(new Error('broken'));
    expect(await answers).toEqual([0xffff, 0xffff, 0xffff]);
    expect(held).toHaveLength(1);
    expect(failures).toMatchObject([
      { code: 'TL_DEVICE_HANDLER', what: 'read of 2 at offset 0x0 of slow: threw broken' },
    ]);
    expect(inb(0x10)).toBe(0xff);
  });

  it('reads all ones and fails when its promise cannot be waited for', async () => {
    const { a, device, failures, outb } = holding();
    device.odd.read = () =>
      Object.assign(Promise.resolve(1), {
        // biome-ignore lint/suspicious/noThenProperty: it is what this is about
        then() {
          throw new Error('no');
        },
      }) as unknown as number;
    expect(await a.readAsync('pio', 0x30, 1)).toBe(0xff);
    expect(failures).toMatchObject([{ code: 'TL_DEVICE_HANDLER', who: 'dev' }]);
    outb(0x40, 0);
  });

  it('has a deadline; what settles later is dropped and counted', async () => {
    const { vm, a, held, failures } = holding();
    const answer = a.readAsync('pio', 0x10, 1);
    await tick();
    vi.advanceTimersByTime(99);
    expect(failures).toEqual([]);
    vi.advanceTimersByTime(1);
    expect(await answer).toBe(0xff);
    expect(failures).toMatchObject([{ code: 'TL_DEADLINE', who: 'dev' }]);
    held[0]?.resolve(5);
    await tick();
    expect(vm.lateSettlements).toBe(1);
    expect(failures).toHaveLength(1);
  });

  it('has no deadline under a debugger', async () => {
    const { a, held, failures } = holding({ debugging: true });
    const answer = a.readAsync('pio', 0x10, 1);
    await tick();
    vi.advanceTimersByTime(1e9);
    held[0]?.resolve(5);
    expect(await answer).toBe(5);
    expect(failures).toEqual([]);
  });

  it('never writes into a slot that was given to another access meanwhile', async () => {
    const { vm, sim, a, held } = holding();
    void a.readAsync('pio', 0x10, 1).catch(() => {});
    await tick();
    // What a hypervisor does that resets its page.
    sim.page.free();
    const other = a.read('pio', 0x999, 1);
    held[0]?.resolve(0x77);
    await tick();
    expect([other, sim.page.decode(0).valueLow, sim.page.state(0)]).toEqual([0xff, 0xffff_ffff, STATE.FREE]);
    expect(vm.lateSettlements).toBe(1);
  });

  it('is finished with all ones when its device is detached; nothing that waited is started', async () => {
    const { vm, a, b, held } = holding();
    const answers = Promise.all([a.readAsync('pio', 0x10, 1), b.readAsync('pio', 0x10, 1)]);
    await tick();
    void vm.detach('dev');
    expect(await answers).toEqual([0xff, 0xff]);
    expect(held).toHaveLength(1);
    held[0]?.resolve(1);
    await tick();
    expect(vm.lateSettlements).toBe(1);
  });

  it('is finished when the machine closes; its vCPU never goes on, nothing that waited is started', async () => {
    const { vm, sim, a, b, held } = holding();
    const answers = Promise.allSettled([a.readAsync('pio', 0x10, 1), b.readAsync('pio', 0x10, 1)]);
    await tick();
    await vm.close();
    expect((await answers).map(({ status }) => status)).toEqual(['rejected', 'rejected']);
    expect(held).toHaveLength(1);
    expect(Array.from({ length: 16 }, (_, slot) => sim.page.state(slot)).every((state) => state === STATE.FREE)).toBe(
      true,
    );
  });

  it('holds back outside events while a waiting handler starts', async () => {
    const { device, a, b, held } = holding();
    const order: string[] = [];
    const post = device.inbox.port('rx', () => order.push('event'));
    device.slow.write = () => {
      post(1);
      order.push('handler');
      return Promise.resolve();
    };
    const first = a.readAsync('pio', 0x10, 1);
    const second = b.writeAsync('pio', 0x10, 1, 0);
    await tick();
    held[0]?.resolve(1);
    await Promise.all([first, second]);
    expect(order).toEqual(['handler', 'event']);
  });

  it('is traced when it settles', async () => {
    const { vm, a, held } = holding();
    const seen: [string, number][] = [];
    vm.traceOn({}, ({ client, value }) => seen.push([client, value]));
    const answer = a.readAsync('pio', 0x10, 1);
    await tick();
    expect(seen).toEqual([]);
    held[0]?.resolve(0x42);
    await answer;
    expect(seen).toEqual([['dev', 0x42]]);
  });
});

describe('a snapshot', () => {
  it('waits for deferred requests, and is refused by name when they do not settle', async () => {
    const { vm, a, held } = holding({ debugging: true });
    const answer = a.readAsync('pio', 0x10, 1);
    await tick();
    const refused = expect(vm.save()).rejects.toMatchObject({ code: 'TL_SNAPSHOT_BUSY', who: 'dev' });
    await tick();
    vi.advanceTimersByTime(5000);
    await refused;
    expect(vm.state).toBe('running');
    const saved = vm.save();
    await tick();
    held[0]?.resolve(1);
    expect((await saved).format).toBe(1);
    expect(await answer).toBe(1);
  });
});
