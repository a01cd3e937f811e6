import fc from 'fast-check';
import { describe, expect, it } from 'vitest';
import { Card, Disk, machine as plugged } from '../../test/cards.js';
import { boot } from '../../test/machine.js';
import { pio } from '../device/attachment.js';
import { bool, bytes, fifo, oneOf, timer, u8, u53 } from '../device/cells.js';
import { Device, Irq, Mmio } from '../device/decorators.js';
import { hostResource } from '../device/host-resource.js';
import { bit, bits, layout, reg } from '../device/layout.js';
import type { Migrate } from '../device/metadata.js';
import { registers } from '../device/registers.js';
import { latch } from '../device/service.js';
import { state } from '../device/state.js';
import { Clock, IrqLine } from '../device/tokens.js';
import { TraplineError } from '../errors.js';
import { use } from './define.js';
import type { Snapshot } from './vm-types.js';

const LAYOUT = layout({
  width: 4,
  regs: {
    ctrl: reg(0, { reset: 1, fields: { mode: bits(1, 0, { 0: 'a', 1: 'b' }), id: bit(31, { access: 'const' }) } }),
    count: reg(4, {}),
  },
});

@Device({ type: 'rich', summary: 'one of everything', irq: 5 })
class Rich {
  @Mmio({ base: 0x10_0000 }) readonly regs = registers(LAYOUT, {
    count: { write: (value) => this.irq.set(value > 9) },
  });
  @Mmio({ base: 0x10_1000, serve: 'latch' }) readonly cell = latch(2, 3);
  readonly state = state({
    n: u8(4),
    big: u53(),
    on: bool(),
    mode: oneOf('x', 'y'),
    data: bytes(3),
    rx: fifo(4),
    tick: timer(() => {}),
  });
  restored = 0;
  constructor(
    readonly irq: IrqLine,
    @Irq('b', { default: 6 }) readonly second: IrqLine,
    readonly clock: Clock,
  ) {}
  onRestored() {
    this.restored++;
  }
}

async function machine() {
  const booted = boot({ dev: use(Rich), twin: use(Rich, { at: { regs: mem(0x20_0000), cell: mem(0x20_1000) } }) });
  await booted.vm.pause();
  const { dev, twin } = booted.vm.devices;
  const save = async (): Promise<Snapshot> => booted.vm.save();
  return { ...booted, dev, twin, save };
}
const mem = (base: number) => ({ kind: 'mmio' as const, base });
/** Something in every cell. */
function fill(dev: Rich) {
  dev.regs.count.value = 77;
  dev.cell.value = 0xabcd;
  Object.assign(dev.state, { n: 200, big: 2 ** 50, on: true, mode: 'y' });
  dev.state.data.set([1, 2, 3]);
  dev.state.rx.push(9);
  dev.state.tick.at(dev.clock.now() + 50);
  dev.irq.set(true);
}
const json = <T>(value: T): T => JSON.parse(JSON.stringify(value));
const withoutMemory = ({ memory: _memory, ...rest }: Snapshot): Snapshot => rest;

/** Every path to a leaf or an object in plain data. */
function paths(value: unknown, here: string[] = []): string[][] {
  if (typeof value !== 'object' || value === null) return [here];
  return [here, ...Object.entries(value).flatMap(([key, inner]) => paths(inner, [...here, key]))];
}
function mutated(
  root: unknown,
  path: readonly string[],
  change: (parent: Record<string, unknown>, key: string) => void,
) {
  const copy = json(root) as Record<string, unknown>;
  let at = copy;
  for (const key of path.slice(0, -1)) at = at[key] as Record<string, unknown>;
  change(at, path.at(-1) as string);
  return copy;
}

describe('a snapshot', () => {
  it('is plain data and comes back as it was', async () => {
    const a = await machine();
    const b = await machine();
    a.clock.advance(123.5);
    fill(a.dev);
    a.vm.memory.write(0x1234, Uint8Array.of(1, 2, 3));
    b.vm.memory.write(0x8000, Uint8Array.of(9));
    const saved = await a.save();
    const { memory, ...rest } = saved;
    expect(json(rest)).toEqual(rest);
    await b.vm.restore({ ...json(rest), memory });
    expect(await b.save()).toEqual(saved);
    expect([b.vm.clock.now(), b.cpu.line(5), b.dev.restored]).toEqual([123.5, true, 1]);
    expect([b.vm.memory.readU8(0x1235), b.vm.memory.readU8(0x8000)]).toEqual([2, 0]);
  });

  it('of devices alone leaves guest memory as it is', async () => {
    const { vm, save } = await machine();
    const saved = withoutMemory(await save());
    vm.memory.writeU8(5, 5);
    await vm.restore(saved);
    expect(vm.memory.readU8(5)).toBe(5);
  });

  it('is refused or comes back equal, whatever value is put in whatever place', async () => {
    const { vm, dev, save } = await machine();
    fill(dev);
    const good = json(withoutMemory(await save()));
    const before = json(withoutMemory(await save()));
    const places = paths(good).filter((path) => path.length > 0);
    const poison = fc.oneof(
      fc.constantFrom<unknown>(
        null,
        '',
        'zz',
        '0102030405',
        -1,
        0.5,
        256,
        2 ** 32,
        2 ** 53,
        Number.POSITIVE_INFINITY,
        true,
        false,
      ),
      fc.constantFrom<unknown>([], {}, [1], { length: 3 }, { toString: 1, valueOf: 1 }, '00', 0, 1, 77),
      fc.jsonValue(),
    );
    await fc.assert(
      fc.asyncProperty(fc.constantFrom(...places), poison, async (path, value) => {
        const bad = mutated(good, path, (parent, key) => {
          parent[key] = value;
        });
        try {
          await vm.restore(bad as unknown as Snapshot);
        } catch (thrown) {
          expect(thrown).toBeInstanceOf(TraplineError);
          expect((thrown as TraplineError).code).toBe('TL_STATE_INVALID');
          expect(json(withoutMemory(await save()))).toEqual(before);
          return;
        }
        expect(json(withoutMemory(await save()))).toEqual(json(bad));
        await vm.restore(before);
      }),
      { numRuns: 1500 },
    );
    expect(places.length).toBeGreaterThan(40);
  });

  it('is refused without any one of its parts, and with any part too many', async () => {
    const { vm, save } = await machine();
    const good = json(withoutMemory(await save()));
    for (const path of paths(good)) {
      if (path.length === 0) continue;
      const less = mutated(good, path, (parent, key) => delete parent[key]);
      await expect(vm.restore(less as never), `without ${path.join('.')}`).rejects.toMatchObject({
        code: 'TL_STATE_INVALID',
      });
    }
    for (const path of ['devices', 'devices.dev.parts', 'devices.dev.parts.state', 'devices.dev.lines']) {
      const more = mutated(good, [...path.split('.'), 'extra'], (parent, key) => {
        parent[key] = {};
      });
      await expect(vm.restore(more as never), path).rejects.toMatchObject({ code: 'TL_STATE_INVALID' });
    }
  });

  it.each<[string, unknown]>([
    ['null', null],
    ['text', 'snapshot'],
    ['memory that is no list', { memory: {} }],
    ['memory that is null', { memory: null }],
    ['memory that is no bytes', { memory: [{ address: 0, bytes: [1] }] }],
    ['memory outside of RAM', { memory: [{ address: 0xffff, bytes: Uint8Array.of(1, 2) }] }],
    ['memory at no address', { memory: [{ address: Number.NaN, bytes: Uint8Array.of(1) }] }],
    ['a hole in its memory', { memory: [null] }],
  ])('is refused when it is %s, whole', async (_what, bad) => {
    const { vm, dev, save } = await machine();
    fill(dev);
    const good = await save();
    const hostile = typeof bad === 'object' && bad !== null ? { ...good, ...bad } : bad;
    await expect(vm.restore(hostile as Snapshot)).rejects.toMatchObject({ code: 'TL_STATE_INVALID', who: 'snapshot' });
    expect(await save()).toEqual(good);
  });

  it('of a running machine pauses it and lets it go on, refused or not', async () => {
    const { vm } = boot({ dev: use(Rich) });
    const saved = await vm.save();
    expect(vm.state).toBe('running');
    await expect(vm.restore({} as never)).rejects.toThrow();
    await vm.restore(saved);
    expect(vm.state).toBe('running');
  });
});

describe('an older version', () => {
  const device = (version: number, migrate?: Migrate) => {
    @Device({ type: 'old', summary: '', version, migrate })
    class Old {
      @Mmio({ base: 0x10_0000, serve: 'latch' }) readonly cell = latch(1);
      readonly state = state({ n: u8() });
    }
    return Old;
  };
  const saved = async (version: number) => (await boot({ dev: use(device(version)) }).vm.save()).devices.dev;
  const restore = async (version: number, from: unknown, migrate?: Migrate) => {
    const { vm } = boot({ dev: use(device(version, migrate)) });
    await vm.restore({ format: 1, time: 0, devices: { dev: from as never } });
    return vm.devices.dev.state.n;
  };

  it('is migrated by its device', async () => {
    const migrate: Migrate = ({ version, parts }) => ({ ...parts, state: { n: version + 40 } });
    expect(await restore(3, await saved(2), migrate)).toBe(42);
  });

  it.each<[string, Migrate | undefined, number]>([
    ['without migrate', undefined, 1],
    ['from a newer device', ({ parts }) => parts, 9],
    ['from version 0.5', ({ parts }) => parts, 0.5],
    [
      'with a migrate that throws',
      () => {
        throw new Error('no');
      },
      1,
    ],
    ['with a migrate that gives nothing', () => null as never, 1],
    ['with a migrate that gives too much', ({ parts }) => ({ ...parts, more: 1 }), 1],
  ])('is refused %s', async (_what, migrate, version) => {
    const from = { ...(await saved(1)), version };
    await expect(restore(2, from, migrate)).rejects.toMatchObject({ code: 'TL_STATE_INVALID', who: 'dev' });
  });
});

describe('a snapshot of a machine with attached devices', () => {
  it('has them, and comes back to a machine that has them, too', async () => {
    const [one, other] = [plugged(), plugged()];
    const card = await one.vm.attach('card', use(Card));
    one.outb(0x81, 5);
    card.irq.set(true);
    card.state.tick.after(10);
    const saved = await one.vm.save();
    expect(saved.devices.card).toMatchObject({
      type: 'card',
      parts: { state: { n: 5, tick: 10 } },
      lines: { '': true },
    });
    const twin = await other.vm.attach('card', use(Card));
    await other.vm.restore(saved);
    expect([other.inb(0x81), other.cpu.line(5)]).toEqual([5, true]);
    other.clock.advance(10);
    expect(twin.calls).toContain('tick');
  });

  it('is refused by name where the devices are others', async () => {
    const { vm, inb } = plugged();
    const without = await vm.save();
    await vm.attach('card', use(Card));
    const withCard = await vm.save();
    await expect(vm.restore(without)).rejects.toMatchObject({
      code: 'TL_STATE_INVALID',
      message: 'card: there is no saved state for it',
    });
    await vm.detach('card');
    await expect(vm.restore(withCard)).rejects.toMatchObject({
      code: 'TL_STATE_INVALID',
      message: 'snapshot: it has the device card, the machine has not',
    });
    await vm.attach('card', use(Disk, { at: pio(0x80), disk: hostResource('d', () => 'd') }));
    await expect(vm.restore(withCard)).rejects.toMatchObject({ code: 'TL_STATE_INVALID', who: 'card' });
    expect([vm.state, inb(0x80)]).toEqual(['running', 1]);
    await vm.detach('card');
    await vm.restore(without);
  });

  it('brings back no timer a device had set by itself', async () => {
    const { vm, clock } = plugged();
    const card = await vm.attach('card', use(Card));
    const saved = await vm.save();
    card.clock.setTimer(5, () => card.calls.push('raw'));
    await vm.restore(saved);
    clock.advance(10);
    expect(card.calls).not.toContain('raw');
  });
});
