import { describe, expect, it } from 'vitest';
import { settle, spiedSim } from '../../test/machine.js';
import { TAKEN } from '../backend/backend.js';
import { Device, Pio } from '../device/decorators.js';
import { STATE } from '../ioreq/layout.js';
import { defineMachine, use } from './define.js';
import { start } from './start.js';

@Device({ type: 'five', summary: '' })
@Pio({ base: 0x10, size: 1 })
class Five {
  read() {
    return 5;
  }
  write() {}
}

/** A machine on a backend with a page and a driver of its own: the test publishes requests. */
async function polled() {
  let claimable = 0;
  let wake: (() => void) | undefined;
  const { provider, opened } = spiedSim((sim) => {
    Object.assign(sim, { immediate: false });
    sim.take = () => {
      const claimed = claimable;
      claimable = 0;
      return claimed;
    };
    sim.arm = (call?: () => void) => {
      wake = call;
      return claimable === 0;
    };
  });
  const vm = await start(defineMachine({ memory: '4K', devices: { dev: use(Five) } }), { backend: provider });
  const [sim] = opened;
  if (!sim) throw new Error('nothing was opened');
  const publish = (slot: number) => {
    sim.page.encode(slot, { type: 'pio', direction: 'read', address: 0x10, size: 1 });
    sim.page.i32[slot * 64 + 34] = STATE.PROCESSING;
    claimable |= 1 << slot;
    wake?.();
  };
  return { vm, sim, publish };
}
const done = async (sim: { page: { state(slot: number): number } }, slot: number) => {
  for (let i = 0; i < 50 && sim.page.state(slot) !== STATE.COMPLETE; i++) await settle();
  return sim.page.state(slot) === STATE.COMPLETE;
};

describe('the pump', () => {
  it('serves every machine of its thread in turn', async () => {
    const [one, two] = [await polled(), await polled()];
    one.publish(0);
    two.publish(15);
    expect([await done(one.sim, 0), await done(two.sim, 15)]).toEqual([true, true]);
    expect(two.sim.page.decode(15).valueLow).toBe(5);
    await Promise.all([one.vm.close(), two.vm.close()]);
  });

  it('drops a machine whose backend throws; it ends, the others go on', async () => {
    const [one, two] = [await polled(), await polled()];
    one.sim.take = () => {
      throw new Error('the driver is gone');
    };
    one.publish(0);
    expect(await one.vm.wait()).toMatchObject({ reason: 'backend-failed', error: { message: 'the driver is gone' } });
    two.publish(3);
    expect(await done(two.sim, 3)).toBe(true);
    await Promise.all([one.vm.close(), two.vm.close()]);
  });

  it('serves what was asked for before a pause, and nothing after it', async () => {
    const { vm, sim, publish } = await polled();
    publish(0);
    await vm.pause();
    expect(sim.page.state(0)).toBe(STATE.COMPLETE);
    await vm.close();
  });

  it('serves nobody once the machine is closed', async () => {
    const { vm, sim, publish } = await polled();
    await vm.close();
    publish(0);
    await settle();
    expect(sim.page.state(0)).toBe(STATE.PROCESSING);
  });
});

/** Machines in one group, whose takes the test writes down beforehand. */
async function grouped(machines: number) {
  const script: (() => number)[] = [];
  const log: string[] = [];
  let wake: (() => void) | undefined;
  const next = () => script.shift()?.() ?? 0;
  const group = {
    beginTurn: () => void log.push('turn'),
    take: next,
    wait: next,
    arm: (call: () => void) => {
      log.push('arm');
      wake = call;
      return true;
    },
  };
  const opened = await Promise.all(
    Array.from({ length: machines }, async (_, number) => {
      const { provider, opened } = spiedSim((sim) => void Object.assign(sim, { immediate: false, group, number }));
      const vm = await start(defineMachine({ memory: '4K', devices: { dev: use(Five) } }), { backend: provider });
      return { vm, sim: opened[0] as NonNullable<(typeof opened)[0]> };
    }),
  );
  await settle();
  log.length = 0;
  /** A request of one machine, as the group takes it. */
  const request =
    (number: number, slot: number, flags = 0) =>
    () => {
      const { sim } = opened[number] as (typeof opened)[0];
      sim.page.encode(slot, { type: 'pio', direction: 'read', address: 0x10, size: 1 });
      sim.page.i32[slot * 64 + 34] = STATE.PROCESSING;
      log.push(`${number}.${slot}`);
      return (1 << slot) | flags | (number << TAKEN.numberShift);
    };
  const close = () => Promise.all(opened.map(({ vm }) => vm.close()));
  return { opened, script, log, request, close, wake: () => wake?.() };
}

describe('a group of sources', () => {
  it('is looked at in one loop, serves whose number is taken, and is armed when there is nothing', async () => {
    const { script, log, request, close, wake, opened } = await grouped(2);
    script.push(request(0, 3), request(1, 15), request(0, 0));
    wake();
    await settle();
    expect(log).toEqual(['turn', '0.3', '1.15', '0.0', 'arm']);
    expect(opened.map(({ sim }) => [sim.page.state(3), sim.page.state(15)])).toEqual([
      [STATE.COMPLETE, STATE.FREE],
      [STATE.FREE, STATE.COMPLETE],
    ]);
    await close();
  });

  it('lets the event loop have its turn when the group says so', async () => {
    const { script, log, request, close, wake } = await grouped(1);
    script.push(request(0, 0, TAKEN.turnOver), request(0, 1));
    setImmediate(() => log.push('the loop'));
    wake();
    await settle();
    await settle();
    expect(log.slice(0, 2)).toEqual(['the loop', 'turn']);
    script.push(request(0, 2, TAKEN.turnOver), request(0, 3));
    log.length = 0;
    wake();
    setImmediate(() => log.push('the loop'));
    await settle();
    await settle();
    expect(log).toEqual(['turn', '0.2', 'the loop', 'turn', '0.3', 'arm']);
    await close();
  });

  it('one that throws ends all of its machines, and no other', async () => {
    const { script, close, wake, opened } = await grouped(2);
    const other = await polled();
    script.push(() => {
      throw new Error('the page is gone');
    });
    wake();
    const ends = await Promise.all(opened.map(({ vm }) => vm.wait()));
    expect(ends.map(({ reason, error }) => `${reason}: ${error?.what}`)).toEqual([
      'backend-failed: the page is gone',
      'backend-failed: the page is gone',
    ]);
    other.publish(1);
    expect(await done(other.sim, 1)).toBe(true);
    await Promise.all([close(), other.vm.close()]);
  });
});
