import { describe, expect, it } from 'vitest';
import { boot, settle } from '../../test/machine.js';
import { Device, Mmio, Pio } from '../device/decorators.js';
import { IrqLine, Msi } from '../device/tokens.js';
import { STATE } from '../ioreq/layout.js';
import { use } from '../machine/define.js';
import type { ScriptCpu } from './backend.js';

@Device({ type: 'bench', summary: 'a bit of everything', irq: 5 })
class Bench {
  reads = 0;
  @Mmio({ base: 0x1000, size: 16 }) readonly mem = {
    read: (offset: number, size: number) => (size === 4 ? 0x8765_4300 + offset : 0x80 + offset),
    write: () => {},
  };
  @Pio({ base: 0x10, size: 4 }) readonly ports = {
    read: () => this.reads++,
    write: (_offset: number, _size: number, value: number) => {
      if (value === 0xff) this.msi.send(0xfee0_0000, 0x41);
      else this.irq.set(value === 1);
    },
  };
  constructor(
    readonly irq: IrqLine,
    readonly msi: Msi,
  ) {}
}

const run = (script: (cpu: ScriptCpu) => void | Promise<void>, cpus = 1) =>
  boot({ dev: use(Bench) }, { guest: { kind: 'script', script }, cpus });
const machine = () => boot({ dev: use(Bench) });
const closed = expect.objectContaining({ code: 'TL_VM_CLOSED' });

describe('sim-js', () => {
  it('plays hypervisor and driver: FREE, PENDING, PROCESSING, COMPLETE, FREE', () => {
    const { sim, cpu } = machine();
    const states: number[] = [];
    const complete = sim.complete.bind(sim);
    sim.complete = (slot, generation) => {
      states.push(sim.page.state(slot));
      const done = complete(slot, generation);
      states.push(sim.page.state(slot));
      return done;
    };
    cpu.read('pio', 0x10, 1);
    expect([...states, sim.page.state(0)]).toEqual([STATE.PROCESSING, STATE.COMPLETE, STATE.FREE]);
  });

  it('drops a completion of another generation, and a second one', () => {
    const { sim, cpu } = machine();
    const complete = sim.complete.bind(sim);
    const results: boolean[] = [];
    sim.complete = (slot, generation) => {
      results.push(complete(slot, generation - 1), complete(slot, generation), complete(slot, generation));
      return true;
    };
    cpu.read('pio', 0x10, 1);
    expect(results).toEqual([false, true, false]);
  });

  it('gives unsigned values of the size asked for', () => {
    const { cpu } = machine();
    expect([1, 2, 4].map((size) => cpu.read('mmio', 0x1000, size))).toEqual([0x80, 0x80, 0x8765_4300]);
    expect(cpu.read('mmio', 0x9000, 4)).toBe(0xffff_ffff);
  });

  it.each([-1, Number.NaN, 2 ** 53, Number.POSITIVE_INFINITY])('refuses %s as an address', (address) => {
    const { cpu, sim } = machine();
    expect(() => cpu.read('mmio', address, 4)).toThrow(expect.objectContaining({ code: 'TL_ACCESS_INVALID' }));
    expect(sim.page.state(0)).toBe(STATE.FREE);
  });

  it('runs its script on every vCPU and ends when all have', async () => {
    const seen: number[] = [];
    const { vm } = run((cpu) => void seen.push(cpu.vcpu), 3);
    expect(seen).toEqual([]);
    expect(await vm.wait()).toEqual({ reason: 'halted' });
    expect(seen).toEqual([0, 1, 2]);
  });

  it('ends with the error of a script that throws', async () => {
    const { vm } = run(() => {
      throw new Error('guest bug');
    });
    expect(await vm.wait()).toMatchObject({
      reason: 'backend-failed',
      error: { code: 'TL_BACKEND_FAILED', what: 'the script of vCPU 0 threw: guest bug' },
    });
  });

  it('lays RAM out around the hole below 4 GiB', () => {
    const { vm } = boot({}, { memory: '64K' });
    expect(vm.memory.extents).toEqual([{ address: 0, length: 65536 }]);
  });
});

describe('a halted vCPU', () => {
  it('wakes by a line that rises, and at once while one is high', async () => {
    const { cpu, vm } = machine();
    let woken = 0;
    const halted = cpu.halt().then(() => woken++);
    await settle();
    expect(woken).toBe(0);
    vm.devices.dev.irq.set(true);
    await halted;
    await cpu.halt();
    expect(woken).toBe(1);
  });

  it('wakes by a message, which waits for it', async () => {
    const { cpu, outb } = machine();
    outb(0x10, 0xff);
    await cpu.halt();
    expect(cpu.takeMsis()).toEqual([{ address: 0xfee0_0000, data: 0x41 }]);
    expect(cpu.takeMsis()).toEqual([]);
  });

  it('does not miss an edge that came before it halted, and takes it once', async () => {
    const { cpu } = machine();
    cpu.write('pio', 0x10, 1, 1);
    cpu.write('pio', 0x10, 1, 0);
    await cpu.halt();
    let woken = false;
    void cpu.halt().then(() => {
      woken = true;
    });
    await settle();
    expect(woken).toBe(false);
  });

  it('wakes everybody who halted', async () => {
    const { cpu, vm } = machine();
    const both = Promise.all([cpu.halt(), cpu.halt()]);
    vm.devices.dev.irq.set(true);
    await both;
  });

  it('does not go on while the machine is paused', async () => {
    const { cpu, vm } = machine();
    let woken = false;
    const halted = cpu.halt().then(() => {
      woken = true;
    });
    await vm.pause();
    vm.devices.dev.irq.set(true);
    await settle();
    expect(woken).toBe(false);
    vm.resume();
    await halted;
  });
});

describe('a paused machine', () => {
  it.each<[string, (cpu: ScriptCpu) => Promise<unknown>]>([
    ['an access', (cpu) => cpu.readAsync('pio', 0x10, 1)],
    ['a write', (cpu) => cpu.writeAsync('pio', 0x10, 1, 0)],
    ['a sleep', (cpu) => cpu.sleep(0)],
  ])('holds back %s, through every further pause', async (_what, act) => {
    const { cpu, vm } = machine();
    await vm.pause();
    let done = false;
    const acting = act(cpu).then(() => {
      done = true;
    });
    vm.resume();
    await vm.pause();
    for (let i = 0; i < 5; i++) await settle();
    await new Promise((resolve) => setTimeout(resolve, 5));
    expect(done).toBe(false);
    vm.resume();
    await acting;
  });
});

describe('a closed machine', () => {
  it('ends whatever its script does next', async () => {
    const { cpu, vm } = machine();
    const waiting = [cpu.halt(), cpu.sleep(1e6)].map((promise) => promise.catch((thrown: unknown) => thrown));
    await vm.close();
    expect(await Promise.all(waiting)).toEqual([closed, closed]);
    expect(() => cpu.read('pio', 0x10, 1)).toThrow(closed);
    expect(() => cpu.write('pio', 0x10, 1, 0)).toThrow(closed);
    for (const call of [cpu.halt(), cpu.sleep(0), cpu.readAsync('pio', 0x10, 1)])
      await expect(call).rejects.toThrow(closed);
    expect(vm.devices.dev.reads).toBe(0);
  });

  it('ends a script whose own access closed it', async () => {
    const { cpu, vm } = machine();
    vm.devices.dev.ports.write = () => void vm.close();
    await expect(cpu.writeAsync('pio', 0x10, 1, 0)).rejects.toThrow(closed);
  });

  it('ends a script that loops for ever, and tells nobody', async () => {
    let rounds = 0;
    const { vm } = run(async (cpu) => {
      for (;;) {
        rounds++;
        await cpu.halt();
      }
    });
    await settle();
    await vm.close();
    await settle();
    const after = rounds;
    await settle();
    expect(rounds).toBe(after);
    expect(await vm.wait()).toEqual({ reason: 'closed' });
  });

  it('has aborted the signal of its script', async () => {
    const { cpu, vm } = machine();
    let heard = 0;
    cpu.signal.addEventListener('abort', () => heard++);
    await vm.close();
    expect([cpu.signal.aborted, heard]).toEqual([true, 1]);
  });
});
