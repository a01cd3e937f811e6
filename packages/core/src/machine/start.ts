import type { Backend, BackendProvider, Guest } from '../backend/backend.js';
import { type BackendChoice, chooseBackend } from '../backend/registry.js';
import { CompositionError, TraplineError } from '../errors.js';
import { SinkLog } from '../log.js';
import { hostTime } from './clock.js';
import type { DeviceUses, Machine } from './define.js';
import { isMachine } from './define.js';
import { HostResources } from './host-resources.js';
import { capabilityProblems, type MachinePlan, planMachine, windowProblems } from './plan.js';
import { preview } from './preview.js';
import { Vm, type VmServices } from './vm.js';
import type { MapRow } from './vm-types.js';

/** How a machine is started. */
export interface StartOptions extends VmServices {
  /** A backend's name, a provider, or `auto` (the default): the first whose capabilities satisfy the machine. */
  readonly backend?: string | BackendProvider;
  /** Told which backend was chosen and why. */
  readonly onBackend?: (choice: BackendChoice) => void;
  /** Called with the composed machine before its first instruction: the place for listeners. */
  readonly onComposed?: (vm: Vm) => void;
  /** Aborts opening of host resources. */
  readonly signal?: AbortSignal;
}

/**
 * Composes a machine and runs it: checks it whole, opens its host resources, constructs its devices,
 * opens the backend. On failure everything opened is closed in reverse.
 *
 * @throws CompositionError with every problem of the machine
 * @throws TraplineError `TL_HOST_RESOURCE`, `TL_BACKEND_*`
 */
export async function start<D extends DeviceUses>(machine: Machine<D>, options: StartOptions = {}): Promise<Vm<D>> {
  const problems: TraplineError[] = [];
  const plan = checkedPlan(machine, problems);
  const refuseProblems = () => {
    if (problems.length === 0) return;
    // What only constructed devices show belongs to the same list.
    preview(plan.devices, problems);
    throw new CompositionError(problems);
  };
  const choice = await chooseBackend(options.backend ?? 'auto', (name, has) =>
    capabilityProblems(plan, name, has),
  ).catch((thrown: unknown) => {
    if (thrown instanceof TraplineError && problems.length > 0) problems.push(thrown);
    refuseProblems();
    throw thrown;
  });
  const { name } = choice.provider;
  const probe = await choice.provider.probe();
  problems.push(...capabilityProblems(plan, name, probe.capabilities));
  refuseProblems();
  options.onBackend?.(choice);
  const resources = new HostResources();
  const vm = new Vm<D>(machine, plan, options, resources);
  let backend: Backend | undefined;
  try {
    for (const device of plan.devices) await resources.open(device, options.signal);
    vm.compose();
    const outside = windowProblems(vm.map(), name, probe.capabilities);
    if (outside.length > 0) throw new CompositionError(outside);
    backend = await choice.provider.open({
      cpus: plan.cpus,
      memory: plan.memory,
      guest: plan.guests.find((guest: Guest) => probe.capabilities.guests.includes(guest.kind)),
      log: new SinkLog(name, vm.logSink, hostTime.now),
    });
    // Where RAM is, only the opened backend knows for sure.
    const inside = windowProblems(vm.map(), name, backend.capabilities);
    if (inside.length > 0) throw new CompositionError(inside);
    options.onComposed?.(vm as unknown as Vm);
    vm.run(backend);
    return vm;
  } catch (thrown) {
    // The machine closes it only if it came to know it.
    await Promise.all([vm.close(), backend?.close().catch(() => {})]);
    throw thrown;
  }
}

/** What `check` and `map` learn of a machine without opening anything. */
export interface MachineReport {
  readonly problems: readonly TraplineError[];
  readonly map: readonly MapRow[];
  /** Interrupt lines: device, name, number. */
  readonly lines: readonly { readonly device: string; readonly name: string; readonly line: number }[];
}

/**
 * Checks a machine: options, injection, constructors, ranges, lines. Opens nothing: devices are
 * constructed with stand-ins for their host resources and thrown away.
 */
export function checkMachine(machine: Machine): MachineReport {
  const problems: TraplineError[] = [];
  const plan = checkedPlan(machine, problems);
  const map = preview(plan.devices, problems);
  const lines = plan.devices.flatMap(({ id, lines: own }) =>
    [...own].map(([name, line]) => ({ device: id, name: name || 'irq', line })),
  );
  return { problems, map, lines };
}

function checkedPlan(machine: Machine, problems: TraplineError[]): MachinePlan {
  if (!isMachine(machine)) {
    throw new TraplineError('TL_MACHINE_FILE', 'this is no machine', { fix: 'make one with defineMachine({ ... })' });
  }
  return planMachine(machine, problems);
}
