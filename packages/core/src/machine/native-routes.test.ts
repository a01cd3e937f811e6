import { describe, expect, it } from 'vitest';
import { boot } from '../../test/machine.js';
import type { NativeRoute, RouteHandle } from '../backend/backend.js';
import type { SimJs } from '../backend/sim-js.js';
import { mmio, pio } from '../device/attachment.js';
import { Device, Mmio, Pio } from '../device/decorators.js';
import { constant, doorbell, latch } from '../device/service.js';
import { Decoder, IrqLine } from '../device/tokens.js';
import { use } from './define.js';

/** A route as a backend would keep it: the test plays the vCPU thread. */
class Route implements RouteHandle {
  kicks: number[] = [];
  removed = false;
  counters = { reads: 0, writes: 0, bytesRead: 0, bytesWritten: 0 };
  value: number;
  constructor(readonly asked: NativeRoute) {
    this.value = asked.value;
  }
  takeKick(): number {
    return this.kicks.shift() ?? -1;
  }
  remove(): void {
    this.removed = true;
  }
}

/** Makes a scripted backend one that takes every route it is offered. */
function routing(limit = 99) {
  const routes: Route[] = [];
  const wrap = (sim: SimJs) =>
    Object.assign(sim, {
      route: (asked: NativeRoute) => {
        if (routes.filter(({ removed }) => !removed).length >= limit) return undefined;
        const route = new Route(asked);
        routes.push(route);
        return route;
      },
    });
  const of = (service: string) => routes.filter((route) => route.asked.service === service && !route.removed);
  return { routes, wrap, of };
}

@Device({ type: 'served', summary: 'one of each, and an ordinary register' })
class Served {
  heard: string[] = [];
  @Mmio({ base: 0x1000, serve: 'constant' }) readonly id = constant(4, 0x1234_5678);
  @Mmio({ base: 0x1004, serve: 'latch' }) readonly cell = latch(2, 7);
  @Mmio({ base: 0x1008, serve: 'doorbell' }) readonly kick = doorbell(2, (value) => {
    if (value === 0xbad) throw new Error('bad kick');
    this.heard.push(`kick ${value}`);
  });
  @Mmio({ base: 0x1010, size: 4 }) readonly plain = {
    read: () => {
      this.heard.push('read');
      return 0;
    },
    write: () => {},
  };
}

const machine = (limit?: number) => {
  const native = routing(limit);
  const { vm, cpu, failures } = boot({ dev: use(Served) }, { wrap: native.wrap });
  return { ...native, vm, cpu, failures, dev: vm.devices.dev };
};

describe('native routes', () => {
  it('offers each served range with what it means', () => {
    const { routes } = machine();
    const base = { space: 'mmio', widths: 7, match: undefined };
    expect(routes.map(({ asked }) => asked)).toEqual([
      { ...base, service: 'constant', base: 0x1000, size: 4, value: 0x1234_5678 },
      { ...base, service: 'latch', base: 0x1004, size: 2, value: 7 },
      { ...base, service: 'doorbell', base: 0x1008, size: 2, value: 0 },
    ]);
  });

  it('shares the cell of a latch in both directions, and keeps its value afterwards', async () => {
    const { of, dev, cpu, vm } = machine();
    const [route] = of('latch') as [Route];
    route.value = 0x55aa;
    expect(dev.cell.value).toBe(0x55aa);
    dev.cell.value = 0x1_2345;
    expect(route.value).toBe(0x2345);
    // An access that still comes through the page works on the same cell.
    cpu.write('mmio', 0x1004, 1, 0xff);
    expect(route.value).toBe(0x23ff);
    await vm.close();
    expect(route.removed).toBe(true);
  });

  it('saves, restores and resets the cell', async () => {
    const { of, vm } = machine();
    const [route] = of('latch') as [Route];
    route.value = 9;
    const saved = await vm.save();
    route.value = 10;
    await vm.restore(saved);
    expect(route.value).toBe(9);
    await vm.reset();
    expect(route.value).toBe(7);
  });

  it('rings kicks before any other access of their device', () => {
    const { of, dev, cpu } = machine();
    (of('doorbell') as [Route])[0].kicks = [1, 2];
    cpu.read('mmio', 0x1010, 4);
    expect(dev.heard).toEqual(['kick 1', 'kick 2', 'read']);
  });

  it('rings kicks before a pause, a reset and a snapshot, and when the pump says so', async () => {
    const { of, dev, vm } = machine();
    const [route] = of('doorbell') as [Route];
    route.kicks = [1];
    await vm.save();
    expect(dev.heard).toEqual(['kick 1']);
    route.kicks = [2];
    await vm.reset();
    expect(dev.heard).toEqual(['kick 1', 'kick 2']);
    route.kicks = [3];
    await vm.pause();
    expect(dev.heard).toEqual(['kick 1', 'kick 2', 'kick 3']);
  });

  it('a doorbell that throws costs its device; later kicks are dropped', () => {
    const { of, dev, cpu, failures, vm } = machine();
    const [route] = of('doorbell') as [Route];
    route.kicks = [1, 0xbad, 2];
    expect(cpu.read('mmio', 0x1010, 4)).toBe(0xffff_ffff);
    expect(dev.heard).toEqual(['kick 1']);
    expect(failures.map(({ code }) => code)).toEqual(['TL_DEVICE_HANDLER']);
    expect(of('constant')).toEqual([]);
    vm.traceOn({}, () => {})();
    expect(of('constant')).toEqual([]);
  });

  it('tracing a range switches native service off, and its end on again; nothing counted is lost', () => {
    const { of, dev, cpu, vm } = machine();
    const [first] = of('latch') as [Route];
    first.value = 0x77;
    first.counters = { reads: 5, writes: 1, bytesRead: 10, bytesWritten: 2 };
    (of('doorbell') as [Route])[0].kicks = [4];
    const seen: number[] = [];
    const stop = vm.traceOn({ device: 'dev' }, (record) => seen.push(record.value));
    expect(first.removed).toBe(true);
    expect(of('latch')).toEqual([]);
    expect(dev.heard).toEqual(['kick 4']);
    expect(cpu.read('mmio', 0x1004, 2)).toBe(0x77);
    expect(seen).toEqual([0x77]);
    stop();
    expect(of('latch')[0]?.asked.value).toBe(0x77);
    const counters = vm.counters().find(({ region }) => region === 'cell');
    expect(counters).toMatchObject({ reads: 6, writes: 1, bytesRead: 12, bytesWritten: 2 });
  });

  it('counts what was served natively while it is', () => {
    const { of, vm } = machine();
    (of('latch') as [Route])[0].counters = { reads: 3, writes: 0, bytesRead: 6, bytesWritten: 0 };
    expect(vm.counters().find(({ region }) => region === 'cell')).toMatchObject({ reads: 3, bytesRead: 6 });
  });

  it('a backend that has no room leaves the rest to TypeScript', () => {
    const { routes, cpu, dev } = machine(1);
    expect(routes).toHaveLength(1);
    expect(cpu.read('mmio', 0x1004, 2)).toBe(7);
    cpu.write('mmio', 0x1008, 2, 6);
    expect(dev.heard).toEqual(['kick 6']);
  });

  it('a device that leaves the machine takes its routes with it', () => {
    const { routes, vm } = machine();
    vm.detach('dev');
    expect(routes.every(({ removed }) => removed)).toBe(true);
  });

  it('asks for no route where stride or byte order, rules of its own, or an overlap make more of a range', () => {
    @Device({ type: 'odd', summary: '' })
    class Odd {
      @Mmio({ base: 0x3000, serve: 'latch', valid: { min: 2 } }) readonly strict = latch(2);
      @Pio({ base: 0x20, serve: 'latch', widths: [2] }) readonly wide = latch(2);
    }
    @Device({ type: 'moving', summary: '' })
    class Moving {
      constructor(readonly decoder: Decoder) {}
    }
    const native = routing();
    const { vm } = boot(
      {
        odd: use(Odd),
        far: use(Served, {
          at: {
            id: mmio(0x2000, { stride: 8 }),
            cell: mmio(0x2030, { endian: 'big' }),
            kick: pio(0x30),
            plain: mmio(0x2040),
          },
        }),
        moving: use(Moving),
      },
      { wrap: native.wrap },
    );
    const asked = () =>
      native.routes.filter(({ removed }) => !removed).map(({ asked: { base, widths } }) => [base, widths]);
    expect(asked()).toEqual([
      [0x20, 2],
      [0x30, 7],
    ]);
    const cover = vm.devices.moving.decoder.region('bar', 'pio', 4, { read: () => 1, write: () => {} });
    cover.map(0x2f);
    expect(asked()).toEqual([]);
    cover.unmap();
    expect(asked()).toHaveLength(2);
  });

  it('a doorbell with a match rings for that value only, wherever it is served', () => {
    @Device({ type: 'matched', summary: '' })
    class Matched {
      heard: number[] = [];
      constructor(readonly irq: IrqLine) {}
      @Pio({ base: 0x40, serve: 'doorbell' }) readonly kick = doorbell(2, (value) => this.heard.push(value), {
        match: 3,
      });
    }
    const native = routing();
    const { vm, cpu } = boot({ dev: use(Matched, { irq: 5 }) }, { wrap: native.wrap });
    expect(native.routes[0]?.asked.match).toBe(3);
    for (const value of [2, 3, 4]) cpu.write('pio', 0x40, 2, value);
    expect(vm.devices.dev.heard).toEqual([3]);
    expect(() => doorbell(1, () => {}, { match: 256 })).toThrow(/does not fit/);
  });
});
