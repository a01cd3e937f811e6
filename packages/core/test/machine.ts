// Whole machines on sim-js, for tests: composed and running in one call, nothing asynchronous.

import type { BackendProvider } from '../src/backend/backend.js';
import { SimJs, simJs } from '../src/backend/sim-js.js';
import { CompositionError, type TraplineError } from '../src/errors.js';
import type { LogRecord } from '../src/log.js';
import { VirtualClock } from '../src/machine/clock.js';
import { type DeviceUses, defineMachine, type MachineSpec } from '../src/machine/define.js';
import { planMachine } from '../src/machine/plan.js';
import { SeededRandom } from '../src/machine/random.js';
import { Vm, type VmServices } from '../src/machine/vm.js';

export interface BootOptions<D extends DeviceUses> extends Partial<Omit<MachineSpec<D>, 'devices'>> {
  readonly services?: VmServices;
  /** Called before the machine runs. */
  readonly before?: (vm: Vm<D>) => void;
  readonly wrap?: (sim: SimJs) => SimJs;
}

/** A running machine with a virtual clock. */
export function boot<D extends DeviceUses>(devices: D, options: BootOptions<D> = {}) {
  const { services = {}, before, wrap = (sim: SimJs) => sim, ...spec } = options;
  const machine = defineMachine<D>({ memory: '64K', defaults: { report: 'never' }, ...spec, devices });
  const problems: TraplineError[] = [];
  const plan = planMachine(machine, problems);
  if (problems.length > 0) throw new CompositionError(problems);
  const log: LogRecord[] = [];
  const failures: TraplineError[] = [];
  const clock = new VirtualClock();
  const random = new SeededRandom(1);
  const vm = new Vm<D>(machine, plan, { clock, random, log: (record) => log.push(record), ...services });
  vm.on('device:failed', ({ error }) => failures.push(error));
  vm.compose();
  before?.(vm);
  const [guest] = plan.guests;
  const sim = wrap(new SimJs({ cpus: plan.cpus, memory: plan.memory, guest, log: undefined as never }));
  vm.run(sim);
  const cpu = sim.cpus[0] as (typeof sim.cpus)[0];
  const inb = (port: number, size = 1) => cpu.read('pio', port, size);
  const outb = (port: number, value: number, size = 1) => cpu.write('pio', port, size, value);
  return { vm, sim, cpu, clock, log, failures, inb, outb };
}

/** sim-js as a provider that shows what it opened, and may be changed. */
export function spiedSim(change: (sim: SimJs) => void = () => {}, provider: Partial<BackendProvider> = {}) {
  const opened: SimJs[] = [];
  const spied: BackendProvider = {
    ...simJs(),
    open: async (config) => {
      const sim = new SimJs(config);
      opened.push(sim);
      change(sim);
      return sim;
    },
    ...provider,
  };
  return { provider: spied, opened };
}

/** Lets every promise that is settled be heard. */
export const settle = () => new Promise<void>((resolve) => setImmediate(resolve));
