import { describe, expect, it } from 'vitest';
import { Board, Busmaster, Card, Disk, machine, resources } from '../../test/cards.js';
import { boot, settle } from '../../test/machine.js';
import { Device } from '../device/decorators.js';
import { STATE } from '../ioreq/layout.js';
import { use } from './define.js';
import type { Vm } from './vm.js';

describe('a detached device', () => {
  const busy = async () => {
    const booted = machine({ cpus: 3 });
    const { vm } = booted;
    const master = await vm.attach('master', use(Busmaster));
    const [a, b, c] = booted.sim.cpus as [typeof booted.cpu, typeof booted.cpu, typeof booted.cpu];
    return { ...booted, master, a, b, c };
  };

  it('reaches the guest no more, whatever it still holds and whoever still calls it', async () => {
    const { vm, master, inb, cpu, clock, events } = await busy();
    master.region.map(0x40);
    master.irq.set(true);
    master.state.tick.after(5);
    master.clock.setTimer(5, () => master.calls.push('raw'));
    await vm.pause();
    master.post(1);
    await vm.detach('master');
    vm.resume();
    master.irq.set(true);
    master.second.pulse();
    master.msi.send(0xfee0_0000, 1);
    master.region.map(0x41);
    master.post(2);
    master.inbox.port('other', () => master.calls.push('other'))(3);
    master.clock.setTimer(6, () => master.calls.push('later'));
    master.machine.exit(1);
    master.machine.powerOff();
    master.machine.reset();
    expect(clock.advanceToNext()).toBe(false);
    clock.advance(100);
    await settle();
    expect(master.calls).toEqual(['pause']);
    expect([vm.state, cpu.line(5), cpu.line(6), cpu.takeMsis()]).toEqual(['running', false, false, []]);
    expect([0x20, 0x40, 0x41].map((port) => inb(port))).toEqual([0xff, 0xff, 0xff]);
    expect(() => master.memory.writeU8(0, 1)).toThrow(expect.objectContaining({ code: 'TL_MEMORY_BOUNDS' }));
    expect([master.memory.contains(0, 1), master.memory.view(0, 4).length, master.memory.size]).toEqual([false, 0, 0]);
    expect([vm.memory.readU8(0), vm.inspectDevice('master')]).toEqual([0, undefined]);
    expect(events).toEqual(['attached master', 'detached master']);
  });

  it('leaves its id to another, which gets nothing of what was meant for it', async () => {
    const { vm, inb } = machine();
    const old = await vm.attach('card', use(Card));
    old.act = () => old.irq.set(true);
    inb(0x80);
    await vm.pause();
    old.post('old');
    await vm.detach('card');
    const next = await vm.attach('card', use(Card, { id: 8 }));
    old.post('stale');
    next.post('new');
    vm.resume();
    expect(next.calls).toEqual(['reset power', 'resume', 'rx new']);
    expect([inb(0x80), next.irq.level, old.calls.includes('rx old')]).toEqual([8, false, false]);
    expect(vm.counters().find(({ device }) => device === 'card')).toMatchObject({ reads: 1, base: 0x80 });
  });

  it('answers all ones to what waits for it, at once, each once', async () => {
    const { vm, sim, master, a, b, c } = await busy();
    const answers = [a, b].map((cpu) => cpu.readAsync('pio', 0x28, 1));
    answers.push(c.readAsync('pio', 0x20, 4));
    await settle();
    const completions: number[] = [];
    const complete = sim.complete.bind(sim);
    sim.complete = (slot, generation) => {
      completions.push(slot);
      return complete(slot, generation);
    };
    void vm.detach('master');
    expect(completions).toEqual([0, 1, 2]);
    expect(await Promise.all(answers)).toEqual([0xff, 0xff, 0xffff_ffff]);
    master.answer(1);
    await settle();
    expect([completions.length, vm.lateSettlements]).toEqual([3, 1]);
  });

  it.each<[string, number, number, number]>([
    ['that goes directly', 0x20, 1, 2],
    ['that is split', 0x20, 4, 0x0202_0202],
    ['that is deferred', 0x28, 1, 0xff],
  ])('may have gone in its own handler, in an access %s', async (_what, port, size, expected) => {
    const { vm, sim, master, a, failures } = await busy();
    master.inHandler = () => void vm.detach('master').catch(() => {});
    expect(await a.readAsync('pio', port, size)).toBe(expected);
    expect(a.read('pio', port, size)).toBe(2 ** (8 * size) - 1);
    expect([sim.page.state(0), failures]).toEqual([STATE.FREE, []]);
    master.answer(5);
    await settle();
    await vm.attach('master', use(Busmaster));
    expect(a.read('pio', 0x20, 1)).toBe(2);
  });

  it('may have gone in its own handler, when the access had waited for the device', async () => {
    const { vm, master, a, b, c, failures } = await busy();
    const slow = a.readAsync('pio', 0x28, 1);
    const plain = [b.readAsync('pio', 0x20, 1), c.readAsync('pio', 0x21, 1)];
    await settle();
    master.inHandler = () => {
      void vm.detach('master');
      throw new Error('and then it throws');
    };
    master.answer(9);
    expect(await Promise.all([slow, ...plain])).toEqual([9, 0xff, 0xff]);
    expect([failures, vm.lateSettlements]).toEqual([[], 0]);
  });

  it('may ask for it again in the hook it is put to sleep by', async () => {
    const { vm, events } = machine();
    @Device({ type: 'quitter', summary: '' })
    class Quitter {
      again: Promise<void> | undefined;
      onPause() {
        this.again = vm.detach('quitter');
        this.again.catch(() => {});
      }
    }
    const quitter = await vm.attach('quitter', use(Quitter));
    await vm.detach('quitter');
    await expect(quitter.again).rejects.toMatchObject({ code: 'TL_USAGE' });
    expect(events).toEqual(['attached quitter', 'detached quitter']);
  });

  it('is put to sleep only if it was awake', async () => {
    const { vm } = machine();
    const card = await vm.attach('card', use(Card));
    await vm.pause();
    await vm.detach('card');
    expect(card.calls).toEqual(['reset power', 'resume', 'pause']);
  });

  it('may go before the machine runs, and when it has ended', async () => {
    const { vm } = boot(
      { board: use(Board), card: use(Card) },
      { before: (composed) => void (composed as object as Vm).detach('card') },
    );
    expect([Object.keys(vm.devices), vm.state]).toEqual([['board'], 'running']);
    await vm.close();
    await vm.detach('board');
    expect(Object.keys(vm.devices)).toEqual([]);
  });
});

describe('a device that comes and goes a thousand times', () => {
  /** How much of everything a machine holds. */
  const held = (vm: Vm, clock: { advanceToNext(): boolean }) => {
    const { io, composition, resources } = vm as object as {
      io: {
        dispatcher: { set: { ranges: unknown[]; handlers: unknown[]; handlerNumbers: Map<unknown, unknown> } };
        queue: { ports: Map<unknown, unknown>; waiting: number };
        deferred: { count: number; active: Map<unknown, unknown>; queued: Map<unknown, unknown> };
      };
      composition: { devices: Map<unknown, unknown>; lines: { high: Map<unknown, unknown> } };
      resources: { values: Map<unknown, unknown>; users: Map<unknown, unknown>; busy: Map<unknown, unknown> };
    };
    const { set } = io.dispatcher;
    return {
      ranges: set.ranges.length,
      handlers: set.handlers.length,
      numbers: set.handlerNumbers.size,
      ports: io.queue.ports.size,
      events: io.queue.waiting,
      deferred: io.deferred.count + io.deferred.active.size + io.deferred.queued.size,
      devices: composition.devices.size,
      lines: composition.lines.high.size,
      resources: resources.values.size + resources.users.size + resources.busy.size,
      timers: clock.advanceToNext(),
    };
  };

  it('leaves nothing behind', async () => {
    const { done, make } = resources();
    const { vm, cpu, clock } = machine();
    const before = held(vm as object as Vm, clock);
    let after: ReturnType<typeof held> | undefined;
    for (let i = 0; i < 1000; i++) {
      const [master, card] = await Promise.all([
        vm.attach('master', use(Busmaster, { irq: { irq: i % 256, b: 6 } })),
        vm.attach('card', use(Disk, { disk: make(`${i}`) })),
      ]);
      master.region.map(0x1000 + i);
      master.irq.set(true);
      master.state.tick.after(1e6);
      master.clock.setTimer(1e6 + i, () => {});
      const answer = cpu.readAsync('pio', 0x28, 1);
      expect(card.options.disk).toBe(`${i}`);
      await Promise.all([vm.detach('master'), vm.detach('card')]);
      expect(await answer).toBe(0xff);
      const now = held(vm as object as Vm, clock);
      // The first time makes the room that is used again.
      after ??= { ...now };
      expect(now).toEqual(after);
    }
    expect(after).toEqual({ ...before, ranges: after?.ranges, handlers: after?.handlers });
    expect([after?.ranges, after?.handlers]).toEqual([5, 5]);
    expect(done).toHaveLength(2000);
  });
});
