import { SimJs } from '../backend/sim-js.js';
import type { Attachment } from '../device/attachment.js';
import { type Layout, type LayoutRow, maskOf } from '../device/layout.js';
import { type DeviceClass, deviceMetadata } from '../device/metadata.js';
import { REGISTERS } from '../device/register-types.js';
import { isRegisters } from '../device/registers.js';
import type { GuestMemory, HostResource } from '../device/tokens.js';
import { CompositionError, TraplineError } from '../errors.js';
import type { LogRecord } from '../log.js';
import { VirtualClock } from '../machine/clock.js';
import { defineMachine, type Placement, type UseConfig, use } from '../machine/define.js';
import type { ResetKind } from '../machine/device-instance.js';
import { takesUnnamedLine } from '../machine/inject.js';
import { planMachine } from '../machine/plan.js';
import { SeededRandom } from '../machine/random.js';
import { Vm } from '../machine/vm.js';
import type { Snapshot } from '../machine/vm-types.js';
import { type GuestOf, type GuestRegion, REGION } from './guest-view.js';

/** A line of the device under test. */
export interface DrivenLine {
  readonly level: boolean;
  /** How often it went from low to high. */
  readonly raised: number;
}

/** A device under test: the device, and the machine around it as the test's hands. */
export interface Driven<C extends DeviceClass> {
  readonly device: InstanceType<C>;
  /** The guest's side. An access that makes the device fail throws its error. */
  readonly guest: GuestOf<InstanceType<C>>;
  /** Machine time; `advance(ms)` fires timers. */
  readonly clock: VirtualClock;
  /** Its unnamed interrupt line, or the only one it has. */
  readonly irq: DrivenLine;
  readonly lines: Readonly<Record<string, DrivenLine>>;
  /** 1 MiB of guest memory from address 0. */
  readonly memory: GuestMemory;
  /** MSIs sent since the last look. */
  takeMsis(): { readonly address: number; readonly data: number }[];
  /** What the device logged. */
  readonly log: readonly LogRecord[];
  /** Set once the device has failed. */
  readonly failure: TraplineError | undefined;
  reset(kind?: ResetKind): void;
  save(): Snapshot;
  /** @throws TraplineError `TL_STATE_INVALID` */
  restore(snapshot: Snapshot): void;
  readonly vm: Vm;
}

const DRIVEN_ID = 'device';

/**
 * Puts one device into a machine of its own, without any VM: its guest side, its time and its lines
 * are in the test's hands. Host resources among the options must open synchronously.
 */
export function drive<C extends DeviceClass>(device: C, config?: UseConfig<C>): Driven<C> {
  const placed = place(device, (config ?? {}) as Placement & Record<string, unknown>);
  const machine = defineMachine({
    memory: '1M',
    devices: { [DRIVEN_ID]: use(device as DeviceClass, placed) },
    defaults: { report: 'never' },
  });
  const problems: TraplineError[] = [];
  const plan = planMachine(machine, problems);
  if (problems.length > 0) throw new CompositionError(problems);
  const log: LogRecord[] = [];
  const clock = new VirtualClock();
  const opened = openNow(plan.devices.flatMap((one) => one.resources.map(({ resource }) => resource)));
  const services = { clock, random: new SeededRandom(1), log: (record: LogRecord) => log.push(record) };
  const vm = new Vm(machine, plan, services, opened);
  let failure: TraplineError | undefined;
  vm.on('device:failed', ({ error }) => {
    failure = error;
  });
  vm.compose();
  const sim = new SimJs({ cpus: 1, memory: plan.memory, guest: undefined, log: undefined as never });
  vm.run(sim);
  if (failure && !vm.inspectDevice(DRIVEN_ID)) throw failure;
  const inside = vm.inspectDevice(DRIVEN_ID) as NonNullable<ReturnType<typeof vm.inspectDevice>>;
  const cpu = sim.cpus[0] as NonNullable<(typeof sim.cpus)[0]>;
  const surely = <T>(run: () => T): T => {
    const before = failure;
    const result = run();
    if (failure && failure !== before) throw failure;
    return result;
  };
  const lines = Object.fromEntries([...inside.lines].map(([name, line]) => [name || 'irq', line]));
  const guest: Record<string, unknown> = {};
  for (const range of inside.ranges) {
    const target: unknown = range.region ? (inside.instance as Record<string, unknown>)[range.region] : inside.instance;
    const block = isRegisters(target) ? target[REGISTERS] : undefined;
    const plain: GuestRegion = {
      read: (offset, size = block?.layout.width ?? 1) => surely(() => cpu.read(range.space, range.base + offset, size)),
      write: (offset, size, value) => surely(() => cpu.write(range.space, range.base + offset, size, value)),
      peek: (offset, size = block?.layout.width ?? 1) => range.adapter.peek(offset, size) ?? 0,
    };
    const at = inside.plan.places.get(range.region);
    if (block) guest[range.region] = guestRegisters(block.layout, plain, at?.stride ?? block.layout.width);
    else if (range.region) guest[range.region] = plain;
    else Object.assign(guest, plain);
  }
  return {
    device: inside.instance as InstanceType<C>,
    guest: guest as GuestOf<InstanceType<C>>,
    clock,
    get irq(): DrivenLine {
      const line = lines.irq ?? Object.values(lines)[0];
      if (!line) throw new TraplineError('TL_IRQ', 'the device drives no interrupt line', { who: device.name });
      return line;
    },
    lines,
    memory: vm.memory,
    takeMsis: () => cpu.takeMsis(),
    log,
    get failure() {
      return failure;
    },
    reset: (kind = 'bus') => surely(() => inside.reset(kind)),
    save: () => ({ format: 1, time: clock.now(), devices: { [DRIVEN_ID]: inside.save() } }),
    restore: (snapshot) => {
      const apply = inside.check(snapshot.devices[DRIVEN_ID]);
      clock.set(snapshot.time);
      surely(apply);
    },
    vm: vm as unknown as Vm,
  };
}

/** Gives a device a place and a line where neither it nor the test does. */
function place(device: DeviceClass, config: Placement & Record<string, unknown>): Placement & Record<string, unknown> {
  const metadata = deviceMetadata(device);
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
  const irq = config.irq ?? (takesUnnamedLine(device) && metadata.irq === undefined ? 5 : undefined);
  return { ...config, ...(at === undefined ? {} : { at }), ...(irq === undefined ? {} : { irq }) };
}

function openNow(resources: readonly HostResource<unknown>[]): Map<HostResource<unknown>, unknown> {
  const opened = new Map<HostResource<unknown>, unknown>();
  for (const resource of resources) {
    const value = resource.open(new AbortController().signal);
    if (value instanceof Promise) {
      throw new TraplineError('TL_USAGE', `${resource.description} opens asynchronously`, {
        who: 'drive',
        fix: 'give the device an in-memory resource in unit tests',
      });
    }
    opened.set(resource, value);
  }
  return opened;
}

type Fields = Readonly<Record<string, unknown>>;

function guestRegisters(layout: Layout, plain: GuestRegion, stride: number): Record<string | symbol, unknown> {
  const busOffset = (row: LayoutRow) => Math.floor(row.offset / layout.width) * stride + (row.offset % layout.width);
  const root: Record<string | symbol, unknown> = { [REGION]: plain };
  const doors = new Map<number, { index?: LayoutRow; data?: LayoutRow }>();
  for (const row of layout.rows) {
    if (row.door === 'index' || row.door === 'data') doors.set(row.group, { ...doors.get(row.group), [row.door]: row });
  }
  for (const row of layout.rows) {
    if (row.door === 'index' || row.door === 'data') continue;
    const reach = row.door === 'behind' ? behind(row, doors.get(row.group) ?? {}) : () => busOffset(row);
    const register = {
      read: () => plain.read(reach(), row.width),
      peek: () => plain.peek(reach(), row.width),
      fields: () => decode(row, plain.read(reach(), row.width)),
      write: (value: number | Fields) =>
        plain.write(reach(), row.width, typeof value === 'number' ? value : encode(row, value)),
    };
    let branch = root;
    for (const key of row.path.slice(0, -1)) {
      branch[key] ??= {};
      branch = branch[key] as Record<string | symbol, unknown>;
    }
    const leaf = row.path.at(-1) as string;
    if (row.element < 0) branch[leaf] = register;
    else {
      branch[leaf] ??= [];
      (branch[leaf] as unknown[]).push(register);
    }
  }
  return root;

  function behind(row: LayoutRow, { index, data }: { index?: LayoutRow; data?: LayoutRow }): () => number {
    return () => {
      if (index) plain.write(busOffset(index), index.width, row.offset);
      return data ? busOffset(data) : 0;
    };
  }
}

/** Field values of a register value. */
export function decode(row: LayoutRow, value: number): Record<string, boolean | number | string> {
  return Object.fromEntries(
    Object.entries(row.fields).map(([name, field]) => {
      const raw = (value >>> field.lo) & (2 ** (field.hi - field.lo + 1) - 1);
      if (field.values) return [name, field.values[raw >>> 0] ?? raw >>> 0];
      return [name, field.hi === field.lo ? raw !== 0 : raw >>> 0];
    }),
  );
}

/** Register value of some fields over zero. @throws TraplineError `TL_STATE_VALUE` for a value a field lacks */
export function encode(row: LayoutRow, fields: Fields): number {
  let value = 0;
  for (const [name, given] of Object.entries(fields)) {
    const field = row.fields[name];
    const most = field ? 2 ** (field.hi - field.lo + 1) - 1 : 0;
    const named = field?.values && Object.entries(field.values).find(([, text]) => text === given)?.[0];
    const raw = field?.values && typeof given === 'string' ? Number(named) : Number(given);
    if (!field || !(raw >= 0 && raw <= most)) {
      throw new TraplineError('TL_STATE_VALUE', `${row.name}.${name} cannot be ${String(given)}`, { who: 'drive' });
    }
    value += raw * 2 ** field.lo;
  }
  return (value & maskOf(row.width)) >>> 0;
}
