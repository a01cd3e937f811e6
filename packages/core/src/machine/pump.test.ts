import { describe, expect, it } from 'vitest';
import { settle, spiedSim } from '../../test/machine.js';
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
