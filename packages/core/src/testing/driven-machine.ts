// A machine around one device, with nothing else in it: what `drive()` gives to tests, and what the
// conformance kit makes by the thousand.
import type { BackendConfig } from '../backend/backend.js';
import { SimJs } from '../backend/sim-js.js';
import type { Attachment } from '../device/attachment.js';
import { type DeviceClass, deviceMetadata } from '../device/metadata.js';
import type { HostResource } from '../device/tokens.js';
import { CompositionError, messageOf, TraplineError } from '../errors.js';
import type { ClientRange } from '../ioreq/client.js';
import { WORD } from '../ioreq/layout.js';
import type { LogRecord } from '../log.js';
import { defineMachine, type Machine, type Placement, use } from '../machine/define.js';
import type { DeviceInstance, ResetKind } from '../machine/device-instance.js';
import { HostResources, type OpenedResources } from '../machine/host-resources.js';
import { takesUnnamedLine } from '../machine/inject.js';
import { type MachinePlan, planMachine } from '../machine/plan.js';
import { SeededRandom } from '../machine/random.js';
import { saveMemory } from '../machine/snapshot.js';
import { Vm } from '../machine/vm.js';
import type { Snapshot } from '../machine/vm-types.js';
import { DrivenClock } from './driven-clock.js';
import { DrivenMemory } from './driven-memory.js';
import { refusePromises } from './promises.js';

/** The instance id of a device under test. */
export const DRIVEN_ID = 'device';
const MEMORY = 2 ** 20;

/** Plans a device's machine once and makes any number of it. */
export class MachineMaker {
  private readonly machine: Machine;
  private readonly plan: MachinePlan;

  /** @throws CompositionError with everything wrong with the class or its configuration */
  constructor(device: DeviceClass, config: object) {
    const placed = place(device, config as Placement & Record<string, unknown>);
    this.machine = defineMachine({
      memory: MEMORY,
      devices: { [DRIVEN_ID]: use(device, placed) },
      defaults: { report: 'never' },
    });
    const problems: TraplineError[] = [];
    this.plan = planMachine(this.machine, problems);
    if (problems.length > 0) throw new CompositionError(problems);
  }

  /** A machine, powered on. */
  make(): DrivenMachine {
    return new DrivenMachine(this.machine, this.plan, openNow(this.plan));
  }
}

/** One device in a machine of its own. */
export class DrivenMachine {
  failure: TraplineError | undefined;
  readonly log: LogRecord[] = [];
  readonly clock: DrivenClock;
  readonly random = new DrivenRandom();
  readonly vm: Vm;
  readonly inside: DeviceInstance;
  private readonly sim = new DrivenBackend();
  private told = false;

  constructor(
    private readonly machine: Machine,
    private readonly plan: MachinePlan,
    readonly opened: OpenedResources,
  ) {
    this.clock = new DrivenClock(() => this.raise());
    const { clock, random } = this;
    this.vm = new Vm(
      machine,
      plan,
      { clock, random, log: (record) => this.log.push(record) },
      new HostResources(opened),
    );
    this.vm.on('device:failed', ({ error }) => {
      this.failure ??= error;
    });
    this.vm.compose();
    this.vm.run(this.sim);
    const inside = this.vm.inspectDevice(DRIVEN_ID);
    if (!inside) throw this.failure as TraplineError;
    this.inside = inside;
    refusePromises(inside, (error) => {
      this.failure ??= error;
    });
    this.raise();
  }

  /**
   * Another one like it, at power-on, on the same host resources: what a restored machine is. This
   * one takes nothing from the host any more.
   */
  another(): DrivenMachine {
    this.inside.pause();
    return new DrivenMachine(this.machine, this.plan, this.opened);
  }

  get memory(): DrivenMemory {
    return this.sim.memory;
  }

  /** One bus access; 8-byte values are exact below 2^53. Fails as a handler does: with `failure`, not by throwing. */
  read(range: ClientRange, offset: number, size: number): number {
    this.request(range, false, offset, size, 0);
    const low = this.sim.finish(0);
    if (size === 8) return (low >>> 0) + 2 ** 32 * ((this.sim.page.i32[WORD.valueHigh] as number) >>> 0);
    return size === 4 ? low >>> 0 : low & (2 ** (8 * size) - 1);
  }

  write(range: ClientRange, offset: number, size: number, value: number): void {
    this.request(range, true, offset, size, value);
    this.sim.finish(0);
  }

  /** Like {@link read}, for a region that may defer. */
  async readAsync(range: ClientRange, offset: number, size: number): Promise<number> {
    const cpu = this.sim.cpus[0] as NonNullable<(typeof this.sim.cpus)[0]>;
    return cpu.readAsync(range.space, range.base + offset, size);
  }
  async writeAsync(range: ClientRange, offset: number, size: number, value: number): Promise<void> {
    const cpu = this.sim.cpus[0] as NonNullable<(typeof this.sim.cpus)[0]>;
    await cpu.writeAsync(range.space, range.base + offset, size, value);
  }

  takeMsis(): { readonly address: number; readonly data: number }[] {
    return (this.sim.cpus[0] as NonNullable<(typeof this.sim.cpus)[0]>).takeMsis();
  }

  reset(kind: ResetKind): void {
    this.inside.reset(kind);
  }

  save(): Snapshot {
    const memory = this.memory.isDirty ? { memory: saveMemory(this.memory) } : {};
    return { format: 1, time: this.clock.now(), devices: { [DRIVEN_ID]: this.inside.save() }, ...memory };
  }

  /** @throws TraplineError `TL_STATE_INVALID` */
  restore(snapshot: Snapshot): void {
    const apply = this.inside.check(snapshot.devices[DRIVEN_ID]);
    for (const { address, bytes } of snapshot.memory ?? []) this.memory.write(address, bytes);
    this.clock.set(snapshot.time);
    apply();
  }

  /** Throws the device's failure, once: from then on it answers all ones, as in a machine. */
  raise(): void {
    if (!this.failure || this.told) return;
    this.told = true;
    throw this.failure;
  }

  private request(range: ClientRange, write: boolean, offset: number, size: number, value: number): void {
    const address = range.base + offset;
    const high = address > 0xffff_ffff ? Math.floor(address / 2 ** 32) : 0;
    if (this.sim.request(0, range.space, write, address | 0, high, size, value | 0)) return;
    throw new TraplineError('TL_VM_STATE', `the ${write ? 'write' : 'read'} was deferred`, {
      who: 'drive',
      fix: 'await the access: a region that defers has readAsync and writeAsync',
    });
  }
}

/** The scripted backend, with memory that costs nothing until it is used. */
class DrivenBackend extends SimJs {
  override readonly memory: DrivenMemory = new DrivenMemory(MEMORY);

  constructor() {
    super({ cpus: 1, memory: 0, guest: undefined } as unknown as BackendConfig);
  }
}

/** Counts what was drawn, so that another machine can be brought to the same place. */
class DrivenRandom extends SeededRandom {
  private drawn = 0;

  constructor() {
    super(1);
  }
  override u32(): number {
    this.drawn++;
    return super.u32();
  }
  /** Draws as much as `other` has. */
  catchUp(other: DrivenRandom): void {
    while (this.drawn < other.drawn) this.u32();
  }
}

/** Gives a device a place and a line where neither it nor the test does. */
function place(device: DeviceClass, config: Placement & Record<string, unknown>): Placement & Record<string, unknown> {
  const metadata = typeof device === 'function' ? deviceMetadata(device) : undefined;
  if (!metadata) return config;
  let at = config.at;
  const homeless = metadata.regions.filter(({ options }) => options.base === undefined);
  if (at === undefined && homeless.length > 0) {
    at = Object.fromEntries(
      homeless.map(({ space, member }, i): [string, Attachment] => [
        member ?? '',
        { kind: space, base: space === 'pio' ? 0x1000 + 0x100 * i : 0x1000_0000 + 0x1_0000 * i },
      ]),
    );
  }
  const irq = config.irq ?? lines(device, metadata.irq, metadata.irqs);
  return { ...config, ...(at === undefined ? {} : { at }), ...(irq === undefined ? {} : { irq }) };
}

type NamedLine = { readonly name: string; readonly fallback: number | undefined };

function lines(device: DeviceClass, fallback: number | undefined, named: readonly NamedLine[]): Placement['irq'] {
  const homeless = named.filter((line) => line.fallback === undefined).map(({ name }) => name);
  if (takesUnnamedLine(device) && fallback === undefined) homeless.unshift('irq');
  if (homeless.length === 0) return undefined;
  return Object.fromEntries(homeless.map((name, i) => [name, 5 + i]));
}

function openNow(plan: MachinePlan): OpenedResources {
  const opened = new Map<HostResource<unknown>, unknown>();
  for (const { resource } of plan.devices.flatMap((device) => device.resources)) {
    const value = openOne(resource);
    if (value instanceof Promise) {
      value.catch(() => {});
      throw new TraplineError('TL_USAGE', `${resource.description} opens asynchronously`, {
        who: 'drive',
        fix: 'give the device an in-memory resource in unit tests',
      });
    }
    opened.set(resource, value);
  }
  return opened;
}

function openOne(resource: HostResource<unknown>): unknown {
  try {
    return resource.open(new AbortController().signal);
  } catch (thrown) {
    throw new TraplineError('TL_HOST_RESOURCE', `${resource.description}: ${messageOf(thrown)}`, {
      who: 'drive',
      cause: thrown,
    });
  }
}
