import { describe, expect, it } from 'vitest';
import { z } from 'zod';
import { boot, settle } from '../../test/machine.js';
import { timer, u8 } from '../device/cells.js';
import { Device, Pio } from '../device/decorators.js';
import { state } from '../device/state.js';
import { Clock, Decoder, GuestMemory, IrqLine, MachineControl, Options } from '../device/tokens.js';
import { use } from './define.js';
import type { ResetKind } from './device-instance.js';
import type { Vm } from './vm.js';

/** Does to its machine what the byte written says. */
@Device({ type: 'control', summary: 'exit, power off, reset', irq: 3 })
@Pio({ base: 0x10, size: 2 })
class Control {
  readonly calls: string[] = [];
  readonly state = state({ n: u8(), tick: timer(() => this.calls.push('tick')) });
  act: (value: number) => void = () => {};
  onResumed: () => void = () => {};
  constructor(
    readonly machine: MachineControl,
    readonly irq: IrqLine,
    readonly clock: Clock,
    readonly memory: GuestMemory,
  ) {}
  read() {
    return this.state.n;
  }
  write(_offset: number, _size: number, value: number) {
    this.act(value);
    this.state.n = value;
  }
  onReset(kind: ResetKind) {
    this.calls.push(`reset ${kind}`);
  }
  onPause() {
    this.calls.push('pause');
  }
  onResume() {
    this.calls.push('resume');
    this.onResumed();
  }
}

const SulkyOptions = z.object({ step: z.string() });
/** Throws in the hook it is told. */
@Device({ type: 'sulky', summary: '', options: SulkyOptions })
@Pio({ base: 0x40, size: 1 })
class Sulky {
  constructor(private readonly options: Options<z.output<typeof SulkyOptions>>) {}
  read() {
    return 0;
  }
  write() {}
  onReset() {
    if (this.options.step === 'reset') throw new Error('no');
  }
  onResume() {
    if (this.options.step === 'resume') throw new Error('no');
  }
}

function machine(options: Parameters<typeof boot>[1] = {}) {
  const events: string[] = [];
  const booted = boot(
    { dev: use(Control), twin: use(Control, { at: { kind: 'pio', base: 0x20 } }) },
    {
      ...(options as object),
      before: (vm) => {
        vm.on('state', (now) => events.push(now));
        vm.on('reset', (kind) => events.push(`reset ${kind}`));
        vm.on('exit', ({ reason }) => events.push(`exit ${reason}`));
        (options as { before?: (vm: Vm) => void }).before?.(vm as unknown as Vm);
      },
    },
  );
  const dev = booted.vm.devices.dev;
  return { ...booted, dev, events };
}
/** A pause of the backend that lasts as long as the test wants. */
function slowPause(sim: { pause(): Promise<void> }) {
  const pause = sim.pause.bind(sim);
  let go = () => {};
  const gate = new Promise<void>((resolve) => {
    go = resolve;
  });
  sim.pause = () => pause().then(() => gate);
  return go;
}

describe('the life of a machine', () => {
  it('begins with a power-on reset, then devices wake', () => {
    const { dev, events, vm } = machine();
    expect(dev.calls).toEqual(['reset power', 'resume']);
    expect([vm.state, events]).toEqual(['running', ['running']]);
  });

  it('pauses and resumes: time stands still, devices sleep', async () => {
    const { vm, dev, events } = machine();
    dev.calls.length = 0;
    await vm.pause();
    vm.resume();
    expect(dev.calls).toEqual(['pause', 'resume']);
    expect(events).toEqual(['running', 'paused', 'running']);
  });

  it('refuses what its state does not allow', async () => {
    const { vm } = machine();
    expect(() => vm.resume()).toThrow(expect.objectContaining({ code: 'TL_VM_STATE' }));
    await vm.pause();
    await expect(vm.pause()).rejects.toMatchObject({
      code: 'TL_VM_STATE',
      message: 'the machine is paused, not running',
    });
    await vm.close();
    for (const call of [vm.pause(), vm.reset(), vm.save()]) {
      await expect(call).rejects.toMatchObject({ code: 'TL_VM_CLOSED' });
    }
    expect(() => vm.resume()).toThrow(expect.objectContaining({ code: 'TL_VM_CLOSED' }));
  });

  it('stays paused by who is told that a device failed to wake', async () => {
    const runs: string[] = [];
    const { vm } = boot(
      { dev: use(Sulky, { step: 'resume' }), other: use(Control) },
      {
        before: (composed) => void composed.on('device:failed', () => void composed.pause()),
        wrap: (made) => Object.assign(made, { run: () => runs.push('run') }),
      },
    );
    await settle();
    expect([vm.state, runs]).toEqual(['paused', []]);
    vm.resume();
    expect([vm.state, runs]).toEqual(['running', ['run']]);
  });

  it('cannot be resumed before its pause is complete', async () => {
    const { vm, sim, dev } = machine();
    dev.calls.length = 0;
    const go = slowPause(sim);
    const paused = vm.pause();
    expect(() => vm.resume()).toThrow(/is being paused/);
    await settle();
    go();
    await paused;
    vm.resume();
    expect([vm.state, dev.calls]).toEqual(['running', ['pause', 'resume']]);
  });

  it('does one thing at a time: two saves, a reset and a restore asked for at once', async () => {
    const { vm, dev, events } = machine();
    dev.state.n = 7;
    const first = vm.save();
    const reset = vm.reset();
    const second = vm.save();
    const restored = first.then((snapshot) => vm.restore(snapshot));
    await reset;
    expect((await second).devices.dev?.parts.state).toMatchObject({ n: 0 });
    await restored;
    expect([dev.state.n, vm.state]).toEqual([7, 'running']);
    expect(events.filter((what) => what === 'paused')).toHaveLength(4);
  });
});

describe('a reset', () => {
  it('puts devices and lines back, and can be repeated', async () => {
    const { vm, dev, cpu, clock } = machine();
    dev.state.n = 5;
    dev.irq.set(true);
    dev.state.tick.at(10);
    await vm.reset();
    const once = vm.inspectDevice('dev')?.save();
    await vm.reset();
    expect(vm.inspectDevice('dev')?.save()).toEqual(once);
    expect([dev.state.n, cpu.line(3), vm.state]).toEqual([0, false, 'running']);
    clock.advance(100);
    expect(dev.calls).not.toContain('tick');
  });

  it('leaves a paused machine paused', async () => {
    const { vm, dev } = machine();
    await vm.pause();
    await vm.reset('soft');
    expect([vm.state, dev.calls.at(-1)]).toEqual(['paused', 'reset soft']);
  });

  it('asked for by a device happens after its access completed', async () => {
    const { vm, dev, outb, inb, events } = machine();
    dev.act = () => dev.machine.reset();
    outb(0x10, 9);
    expect(dev.state.n).toBe(9);
    await settle();
    expect([inb(0x10), vm.state]).toEqual([0, 'running']);
    expect(events).toEqual(['running', 'paused', 'reset bus', 'running']);
  });

  it('asked for while the machine is being paused happens when it goes on', async () => {
    const { vm, sim, dev, outb, events } = machine();
    const go = slowPause(sim);
    const saved = vm.save();
    dev.act = () => dev.machine.reset();
    outb(0x10, 9);
    go();
    await saved;
    await settle();
    expect(events).toContain('reset bus');
    expect([dev.state.n, vm.state]).toEqual([0, 'running']);
  });

  it('that loses to a close ends quietly', async () => {
    const { vm, sim, dev } = machine();
    dev.calls.length = 0;
    const go = slowPause(sim);
    const reset = vm.reset();
    const lost = expect(reset).rejects.toMatchObject({ code: 'TL_VM_CLOSED' });
    const closed = vm.close();
    go();
    await lost;
    await closed;
    expect([vm.state, dev.calls.filter((call) => call.startsWith('reset'))]).toEqual(['closed', []]);
  });

  it('that the backend fails ends the machine when the guest asked for it', async () => {
    const { vm, sim, dev, outb } = machine();
    sim.reset = () => Promise.reject(new Error('no reset line'));
    dev.act = () => dev.machine.reset();
    outb(0x10, 1);
    expect(await vm.wait()).toMatchObject({ reason: 'backend-failed', error: { message: 'no reset line' } });
  });
});

describe('the end', () => {
  it('by exit comes after the access, once, with the code as a byte', async () => {
    const { vm, dev, outb, events } = machine();
    dev.act = (value) => {
      dev.machine.exit(value + 0x100);
      dev.machine.exit(1);
      dev.machine.powerOff();
      events.push('still in the handler');
    };
    outb(0x10, 7);
    expect(dev.state.n).toBe(7);
    expect(await vm.wait()).toEqual({ reason: 'exit', code: 7 });
    expect(await vm.wait()).toEqual({ reason: 'exit', code: 7 });
    expect(events).toEqual(['running', 'still in the handler', 'stopped', 'exit exit']);
    expect(vm.state).toBe('stopped');
  });

  it('by power off has no code', async () => {
    const { vm, dev } = machine();
    dev.machine.powerOff();
    expect(await vm.wait()).toEqual({ reason: 'power-off' });
  });

  it('asked for while devices wake comes after the machine runs', async () => {
    const { vm, dev, events } = machine();
    await vm.pause();
    dev.onResumed = () => dev.machine.exit(3);
    vm.resume();
    expect(await vm.wait()).toEqual({ reason: 'exit', code: 3 });
    expect(events).toEqual(['running', 'paused', 'running', 'stopped', 'exit exit']);
  });

  it.each([5n, Symbol('5')])('with a code that is no number costs the device: %s', (code) => {
    const { vm, dev, outb, failures } = machine();
    dev.act = () => dev.machine.exit(code as unknown as number);
    outb(0x10, 1);
    expect(failures).toMatchObject([{ code: 'TL_DEVICE_HANDLER', who: 'dev' }]);
    expect(vm.state).toBe('running');
  });

  it('puts devices to sleep once', async () => {
    const { vm, dev } = machine();
    await vm.pause();
    await vm.close();
    expect(dev.calls.filter((call) => call === 'pause')).toHaveLength(1);
  });

  it('is told to the backend once it has come to rest', async () => {
    const { vm, sim, dev } = machine();
    const told: string[] = [];
    const go = slowPause(sim);
    Object.assign(sim, { letExit: () => told.push(vm.state) });
    dev.machine.exit(1);
    await settle();
    expect(told).toEqual([]);
    go();
    await vm.wait();
    expect(told).toEqual(['stopped']);
  });

  it('is told although the backend never comes to rest, at the latest when it is closed', async () => {
    const { vm, sim, dev, events } = machine();
    sim.pause = () => new Promise(() => {});
    const waiting = vm.wait();
    dev.machine.exit(1);
    await vm.close();
    expect(await waiting).toEqual({ reason: 'exit', code: 1 });
    expect(events.filter((what) => what.startsWith('exit'))).toEqual(['exit exit']);
  });
});

describe('a close', () => {
  it('is one promise, also as an async disposal', async () => {
    const { vm, events } = machine();
    const first = vm.close();
    expect(vm.close()).toBe(first);
    expect(vm[Symbol.asyncDispose]()).toBe(first);
    await first;
    expect(events).toEqual(['running', 'stopped', 'exit closed', 'closed']);
    expect(await vm.wait()).toEqual({ reason: 'closed' });
  });

  it.each(['close', 'pause'] as const)('goes to its end when the %s of the backend fails, however', async (step) => {
    for (const fail of [
      () => Promise.reject(new Error('no')),
      () => {
        throw new Error('no');
      },
    ]) {
      const { vm, sim, log } = machine();
      sim[step] = fail as () => Promise<void>;
      await vm.close();
      expect(vm.state).toBe('closed');
      expect(log.some(({ message }) => message === 'while closing: no')).toBe(step === 'close');
    }
  });

  it('by who is told that a device failed leaves nothing running, at any step of the start', async () => {
    for (const step of ['reset', 'resume']) {
      const runs: string[] = [];
      const { vm, sim } = boot(
        { dev: use(Sulky, { step }), other: use(Control) },
        {
          before: (composed) => {
            composed.on('device:failed', () => void composed.close());
            composed.on('state', (now) => runs.push(now));
          },
          wrap: (made) => Object.assign(made, { run: () => runs.push('run') }),
        },
      );
      await vm.close();
      expect(vm.devices.other.calls).not.toContain('resume');
      expect([vm.state, runs, sim.cpus[0]?.signal.aborted]).toEqual(['closed', ['stopped', 'closed'], true]);
    }
  });

  it('inside a handler ends the script, not the process', async () => {
    const { vm, dev, outb, events } = machine();
    dev.act = () => void vm.close();
    expect(() => outb(0x10, 1)).toThrow(expect.objectContaining({ code: 'TL_VM_CLOSED' }));
    await vm.close();
    expect(events.at(-1)).toBe('closed');
  });

  it('takes guest memory away, and stops time', async () => {
    const { vm, dev, clock } = machine();
    dev.state.tick.at(5);
    await vm.close();
    clock.advance(10);
    expect(dev.calls).not.toContain('tick');
    expect(dev.memory.view(0, 4)).toHaveLength(0);
    expect(() => dev.memory.readU8(0)).toThrow(expect.objectContaining({ code: 'TL_MEMORY_BOUNDS' }));
  });
});

describe('what devices and listeners do wrong', () => {
  it('in a timer costs the device, whoever set it', () => {
    const { vm, dev, clock, failures } = machine();
    const twin = vm.devices.twin;
    dev.clock.setTimer(5, () => {
      throw new Error('late');
    });
    twin.clock.setTimer(5, () => twin.calls.push('fine'));
    clock.advance(5);
    expect(failures).toMatchObject([{ code: 'TL_DEVICE_HOOK', who: 'dev', what: 'a timer threw late' }]);
    expect(twin.calls).toContain('fine');
  });

  it('in a hook costs the device, now or later', async () => {
    const { vm, dev, failures } = machine();
    dev.onReset = async () => {
      throw new Error('later');
    };
    await vm.reset();
    await settle();
    expect(failures).toMatchObject([{ code: 'TL_DEVICE_HOOK', what: 'onReset threw later' }]);
    expect(vm.state).toBe('running');
  });

  it('in a listener is logged and harms nobody, also when it is asynchronous', async () => {
    const { vm, dev, outb, log, events } = machine();
    vm.on('device:failed', () => {
      throw new Error('a listener');
    });
    vm.on('device:failed', async () => {
      throw new Error('a slow one');
    });
    vm.on('device:failed', () => events.push('heard'));
    dev.act = () => {
      throw new Error('broken');
    };
    outb(0x10, 1);
    await settle();
    expect(events).toContain('heard');
    expect(log.map(({ message }) => message)).toEqual(
      expect.arrayContaining([
        'a listener of device:failed threw: a listener',
        'a listener of device:failed threw: a slow one',
      ]),
    );
  });

  it('in a log sink harms nobody', () => {
    const services = {
      log: () => {
        throw new Error('disk full');
      },
    };
    const { vm, dev, outb, inb } = machine({ services });
    dev.act = () => {
      throw new Error('broken');
    };
    outb(0x10, 1);
    expect([inb(0x10), vm.state]).toEqual([0xff, 'running']);
  });

  it('in a trace sink harms nobody', () => {
    const { vm, inb } = machine();
    vm.traceOn({}, () => {
      throw new Error('broken tool');
    });
    expect(inb(0x10)).toBe(0);
  });
});

describe('detaching', () => {
  it('gives the addresses of a device to the default client, at once', async () => {
    const { vm, inb, cpu, dev } = machine();
    dev.irq.set(true);
    const detached = vm.detach('dev');
    expect([inb(0x10), inb(0x20), cpu.line(3)]).toEqual([0xff, 0, false]);
    expect([Object.keys(vm.devices), vm.map().map(({ device }) => device)]).toEqual([['twin'], ['twin']]);
    await expect(vm.detach('dev')).rejects.toMatchObject({ code: 'TL_USAGE', message: 'dev: there is no device dev' });
    await detached;
  });

  it('may be done by the device itself, in its handler', () => {
    const { vm, outb, inb, dev, failures } = machine();
    dev.act = () => {
      void vm.detach('dev');
      throw new Error('and then it throws');
    };
    outb(0x10, 1);
    expect([inb(0x10), failures, vm.state]).toEqual([0xff, [], 'running']);
  });

  it('ends what the device could decode by itself', () => {
    @Device({ type: 'mover', summary: '' })
    class Mover {
      readonly region;
      constructor(decoder: Decoder) {
        this.region = decoder.region('bar', 'pio', 1, { read: () => 1, write: () => {} });
      }
    }
    const { vm, inb } = boot({ dev: use(Mover) });
    const { region } = vm.devices.dev;
    region.map(0x80);
    expect(inb(0x80)).toBe(1);
    void vm.detach('dev');
    region.map(0x90);
    expect([inb(0x80), inb(0x90)]).toEqual([0xff, 0xff]);
  });
});

describe('a constructor that throws', () => {
  it('costs only its device, and leaves no line up and no range behind', () => {
    @Device({ type: 'stillborn', summary: '', irq: 3 })
    @Pio({ base: 0x30, size: 1 })
    class Stillborn {
      constructor(irq: IrqLine, decoder: Decoder) {
        irq.set(true);
        decoder.region('bar', 'pio', 1, { read: () => 1, write: () => {} }).map(0x40);
        throw new Error('not today');
      }
      read() {
        return 1;
      }
      write() {}
    }
    const { vm, inb, cpu, failures } = boot({ bad: use(Stillborn), good: use(Control) });
    expect(failures).toMatchObject([{ code: 'TL_DEVICE_CONSTRUCTOR', who: 'bad' }]);
    expect(failures[0]?.message).toMatch(/the constructor of Stillborn threw: not today/);
    expect([inb(0x30), inb(0x40), inb(0x10), cpu.line(3)]).toEqual([0xff, 0xff, 0, false]);
    expect(vm.devices.good).toBeInstanceOf(Control);
  });
});

describe('two machines in one process', () => {
  it('share nothing: one that fails leaves the other alone', async () => {
    const [one, two] = [machine(), machine()];
    one.dev.act = () => {
      throw new Error('broken');
    };
    one.outb(0x10, 1);
    two.outb(0x10, 5);
    two.dev.irq.set(true);
    expect([one.cpu.line(3), one.inb(0x10), two.inb(0x10)]).toEqual([false, 0xff, 5]);
    expect([one.failures.length, two.failures.length]).toEqual([1, 0]);
    await one.vm.close();
    expect([two.vm.state, two.inb(0x10)]).toEqual(['running', 5]);
  });
});

describe('the default client of a machine', () => {
  it('reports once with an event and a log line, and may end the machine', async () => {
    const seen: number[] = [];
    const quiet = machine({ defaults: { value: 'zeros', report: 'once' } } as never);
    quiet.vm.on('access:unclaimed', ({ address }) => seen.push(address));
    expect([quiet.inb(0x99), quiet.inb(0x99)]).toEqual([0, 0]);
    expect(seen).toEqual([0x99]);
    expect(quiet.vm.unclaimed.reads).toBe(2);
    expect(quiet.log.at(-1)?.message).toBe('nobody claims the read of 1 at pio 0x99 by vCPU 0');
    const strict = machine({ defaults: { report: 'throw' } } as never);
    expect(strict.inb(0x99)).toBe(0xff);
    expect(await strict.vm.wait()).toMatchObject({ reason: 'backend-failed', error: { code: 'TL_ACCESS_INVALID' } });
  });

  it('is told of straddles by an event', () => {
    const { vm, inb } = machine();
    const seen: unknown[] = [];
    vm.on('access:straddle', (straddle) => seen.push(straddle));
    inb(0x11, 2);
    expect(seen).toEqual([{ device: 'dev', region: '', direction: 'read', address: 0x11, size: 2 }]);
  });
});
