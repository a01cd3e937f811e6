// From a machine's data to a plan for each device: options validated, lines and places resolved.
// Opens and constructs nothing; collects every problem instead of stopping at the first.
import type { z } from 'zod';
import type { BackendCapabilities, Guest } from '../backend/backend.js';
import type { Attachment } from '../device/attachment.js';
import { isHostResource } from '../device/host-resource.js';
import { CORE_PATH, type DeviceClass, type DeviceMetadata, deviceMetadata } from '../device/metadata.js';
import { type HostResource, Msi } from '../device/tokens.js';
import { type ErrorCode, hex, messageOf, TraplineError } from '../errors.js';
import { nearest } from '../nearest.js';
import type { DeviceUses, Machine, Placement } from './define.js';
import { injectionProblems, parametersOf, takesUnnamedLine } from './inject.js';
import { parseMemorySize } from './memory.js';
import type { MapRow } from './vm-types.js';

/** One device instance to be. */
export interface DevicePlan {
  readonly id: string;
  readonly device: DeviceClass;
  readonly metadata: DeviceMetadata;
  /** Validated, with defaults; host resources not opened. */
  readonly options: Readonly<Record<string, unknown>>;
  readonly resources: readonly { readonly option: string; readonly resource: HostResource<unknown> }[];
  /** Line number by name; the unnamed line is `''`. */
  readonly lines: ReadonlyMap<string, number>;
  /** Where each region goes, by member name (`''` for the class); absent: its declared base. */
  readonly places: ReadonlyMap<string, Attachment>;
}

/** A whole machine to be. */
export interface MachinePlan {
  /** Bytes of guest RAM. */
  readonly memory: number;
  readonly cpus: number;
  readonly guests: readonly Guest[];
  readonly devices: readonly DevicePlan[];
}

const GUEST_KINDS: readonly Guest['kind'][] = ['flat', 'script', 'stream'];

/** Plans a machine; what is wrong with it is added to `problems`. */
export function planMachine(machine: Machine, problems: TraplineError[]): MachinePlan {
  const attempt = <T>(run: () => T, otherwise: T): T => {
    try {
      return run();
    } catch (thrown) {
      problems.push(thrown as TraplineError);
      return otherwise;
    }
  };
  const known = ['memory', 'cpus', 'devices', 'guest', 'defaults', 'interrupts'];
  for (const key of Object.keys(machine).filter((name) => !known.includes(name))) {
    problems.push(unknownKey('machine', 'a machine', key, known));
  }
  if (typeof machine.devices !== 'object' || machine.devices === null) {
    problems.push(
      new TraplineError('TL_OPTION', 'has no devices', { who: 'machine', fix: 'give devices: { name: use(Device) }' }),
    );
  }
  const memory = attempt(() => parseMemorySize(machine.memory), 0);
  const cpus = machine.cpus ?? 1;
  if (!Number.isInteger(cpus) || cpus < 1 || cpus > 16) {
    problems.push(
      new TraplineError('TL_OPTION', `cpus is ${cpus}, but a machine has 1 to 16`, {
        who: 'cpus',
        fix: 'choose 1 to 16 vCPUs',
      }),
    );
  }
  const guest = machine.guest ?? [];
  const guests = 'kind' in guest ? [guest] : guest;
  for (const { kind } of guests) {
    if (GUEST_KINDS.includes(kind)) continue;
    const fix = `a guest is one of: ${GUEST_KINDS.join(', ')}`;
    problems.push(new TraplineError('TL_OPTION', `there is no guest of kind ${String(kind)}`, { who: 'guest', fix }));
  }
  const devices = Object.entries((machine.devices ?? {}) as DeviceUses).flatMap(([id, entry]) => {
    const plan = planDevice(id, entry?.device, (entry?.config ?? {}) as Placement, problems);
    return plan ? [plan] : [];
  });
  return { memory, cpus, guests, devices };
}

/** Plans one device instance. */
export function planDevice(
  id: string,
  device: DeviceClass,
  config: Placement,
  problems: TraplineError[],
): DevicePlan | undefined {
  const metadata = typeof device === 'function' ? deviceMetadata(device) : undefined;
  if (!metadata) {
    problems.push(noDevice(id, device));
    return undefined;
  }
  if (metadata.core !== CORE_PATH) {
    const what = `${metadata.className} belongs to the core at ${metadata.core}, this machine to the one at ${CORE_PATH}`;
    problems.push(new TraplineError('TL_DUPLICATE_CORE', what, { who: id }));
    return undefined;
  }
  const { at, irq, ...rest } = config as Placement & Record<string, unknown>;
  problems.push(...injectionProblems(id, metadata, device));
  const options = parseOptions(id, metadata, rest, problems);
  return {
    id,
    device,
    metadata,
    options,
    resources: Object.entries(options).flatMap(([option, resource]) =>
      isHostResource(resource) ? [{ option, resource }] : [],
    ),
    lines: planLines(id, device, metadata, irq, problems),
    places: planPlaces(id, metadata, at, problems),
  };
}

/** Whatever stands where `use(Class)` should. */
function noDevice(id: string, device: unknown): TraplineError {
  if (typeof device !== 'function') {
    const fix = 'write use(Class), with a class its file exports';
    return new TraplineError('TL_DEVICE_CLASS', `${String(device)} is no device class`, { who: id, fix });
  }
  const fix = "decorate it with @Device({ type: '...', summary: '...' })";
  return new TraplineError('TL_DEVICE_CLASS', `${device.name} is not decorated with @Device`, { who: id, fix });
}

function parseOptions(
  id: string,
  metadata: DeviceMetadata,
  given: Readonly<Record<string, unknown>>,
  problems: TraplineError[],
): Readonly<Record<string, unknown>> {
  const schema = metadata.options;
  if (!schema) {
    for (const name of Object.keys(given)) problems.push(unknownOption(id, metadata, name, []));
    return {};
  }
  let result: ReturnType<z.ZodObject['safeParse']>;
  try {
    result = (schema.strict() as z.ZodObject).safeParse(given);
  } catch (thrown) {
    const what = `the options schema of ${metadata.className} threw ${messageOf(thrown)}`;
    problems.push(new TraplineError('TL_OPTION', what, { who: id, cause: thrown }));
    return {};
  }
  if (result.success) return ownCopy(result.data) as Record<string, unknown>;
  const known = Object.keys(schema.shape);
  const refused = new Set<string>();
  for (const issue of result.error.issues) {
    if (issue.code === 'unrecognized_keys') {
      for (const name of issue.keys) {
        refused.add(name);
        problems.push(unknownOption(id, metadata, name, known));
      }
      continue;
    }
    refused.add(String(issue.path[0]));
    const path = issue.path.join('.');
    problems.push(
      new TraplineError('TL_OPTION', `option ${path}: ${issue.message}`, {
        who: id,
        fix: `see the options of ${metadata.type} with: trapline devices ${metadata.type}`,
        details: { option: path },
      }),
    );
  }
  // Its places and lines are checked all the same, with what is left.
  const left = Object.fromEntries(Object.entries(given).filter(([name]) => !refused.has(name)));
  const again = schema.safeParse(left);
  return again.success ? (ownCopy(again.data) as Record<string, unknown>) : {};
}

/** Plain data, copied: a default is one object for all machines, and a device may change what it is given. */
function ownCopy(value: unknown): unknown {
  if (Array.isArray(value)) return value.map(ownCopy);
  if (typeof value !== 'object' || value === null || isHostResource(value)) return value;
  if (Object.getPrototypeOf(value) !== Object.prototype) return value;
  return Object.fromEntries(Object.entries(value).map(([key, inner]) => [key, ownCopy(inner)]));
}

function unknownOption(id: string, metadata: DeviceMetadata, name: string, known: readonly string[]): TraplineError {
  return unknownKey(id, metadata.type, name, [...known, 'at', 'irq']);
}

function unknownKey(who: string, owner: string, name: string, known: readonly string[]): TraplineError {
  const meant = nearest(name, known);
  const fix = `${meant ? `did you mean ${meant}? ` : ''}${owner} has: ${known.join(', ')}`;
  return new TraplineError('TL_OPTION', `unknown option ${name}`, { who, fix, details: { option: name, known } });
}

function planLines(
  id: string,
  device: DeviceClass,
  metadata: DeviceMetadata,
  irq: Placement['irq'],
  problems: TraplineError[],
): ReadonlyMap<string, number> {
  const declared = new Map<string, number | undefined>();
  if (takesUnnamedLine(device)) declared.set('', metadata.irq);
  for (const line of metadata.irqs) declared.set(line.name, line.fallback);
  const given: Readonly<Record<string, number>> = typeof irq === 'number' ? { '': irq } : (irq ?? {});
  const names = [...declared.keys()].map((name) => name || 'irq');
  for (const name of Object.keys(given)) {
    if (declared.has(name === 'irq' ? '' : name)) continue;
    const fix =
      names.length > 0 ? `its lines are: ${names.join(', ')}` : `${metadata.type} drives no interrupt line: drop irq`;
    problems.push(new TraplineError('TL_IRQ', `has no interrupt line ${name || 'irq'}`, { who: id, fix }));
  }
  const lines = new Map<string, number>();
  for (const [name, fallback] of declared) {
    const line = given[name] ?? (name === '' ? given.irq : undefined) ?? fallback;
    if (line === undefined || !Number.isInteger(line) || line < 0) {
      const what =
        line === undefined ? `needs a number for interrupt line ${name || 'irq'}` : `cannot use interrupt line ${line}`;
      problems.push(
        new TraplineError('TL_IRQ', what, { who: id, fix: name ? `give irq: { ${name}: N }` : 'give irq: N' }),
      );
    } else lines.set(name, line);
  }
  return lines;
}

function planPlaces(
  id: string,
  metadata: DeviceMetadata,
  at: Placement['at'],
  problems: TraplineError[],
): ReadonlyMap<string, Attachment> {
  const regions = metadata.regions.map((region) => region.member ?? '');
  const names = [...new Set(regions)];
  if (at === undefined) return new Map();
  if (typeof at !== 'object' || at === null) {
    const fix = 'write at: pio(0x...) or at: mmio(0x...)';
    problems.push(new TraplineError('TL_OPTION', `at is ${String(at)}, which is no place`, { who: id, fix }));
    return new Map();
  }
  if ('kind' in at && typeof at.kind === 'string') {
    if (names.length === 1) return new Map([[names[0] as string, at as Attachment]]);
    const fix = names.length > 0 ? `give at: { ${names.map((name) => `${name}: ...`).join(', ')} }` : 'drop at';
    problems.push(new TraplineError('TL_OPTION', `at names one place for ${names.length} regions`, { who: id, fix }));
    return new Map();
  }
  const places = new Map<string, Attachment>();
  for (const [name, place] of Object.entries(at as Record<string, Attachment>)) {
    if (names.includes(name)) places.set(name, place);
    else {
      problems.push(
        new TraplineError('TL_OPTION', `has no region ${name}`, {
          who: id,
          fix: `its regions are: ${names.join(', ')}`,
        }),
      );
    }
  }
  return places;
}

/** Ranges where the backend traps nothing. */
export function windowProblems(map: readonly MapRow[], backend: string, has: BackendCapabilities): TraplineError[] {
  return map
    .filter(({ space, first, last }) => {
      return space === 'mmio' && !has.mmioWindows.some(([from, to]) => first >= from && last <= to);
    })
    .map(({ device, first, last }) => {
      const windows = has.mmioWindows.map(([from, to]) => `${hex(from)}-${hex(to)}`).join(', ');
      const what = `mmio ${hex(first)}-${hex(last)}, but ${backend} traps only ${windows}`;
      return new TraplineError('TL_BACKEND_CAPABILITY', what, { who: device, details: { backend } });
    });
}

/** What the machine needs beyond what the backend has; each problem names both figures. */
export function capabilityProblems(plan: MachinePlan, backend: string, has: BackendCapabilities): TraplineError[] {
  const problems: TraplineError[] = [];
  const lacks = (what: string, who: string) =>
    problems.push(new TraplineError('TL_BACKEND_CAPABILITY', what, { who, details: { backend } }));
  if (plan.cpus > has.maxVcpus) lacks(`${plan.cpus} vCPUs, but ${backend} has at most ${has.maxVcpus}`, 'cpus');
  if (plan.memory > has.maxMemory)
    lacks(`${plan.memory} bytes of memory, but ${backend} has at most ${has.maxMemory}`, 'memory');
  if (plan.guests.length > 0 && !plan.guests.some((guest) => has.guests.includes(guest.kind))) {
    const kinds = plan.guests.map((guest) => guest.kind).join(', ');
    const what = `is of kind ${kinds}, and ${backend} runs only: ${has.guests.join(', ')}`;
    const fix = `use another backend, or give the guest a form ${backend} runs`;
    problems.push(new TraplineError('TL_BACKEND_CAPABILITY', what, { who: 'guest', fix, details: { backend } }));
  }
  return [...problems, ...plan.devices.flatMap((device) => deviceCapabilityProblems(device, backend, has))];
}

/** What one device needs beyond what the backend has. */
export function deviceCapabilityProblems(
  { id: who, device, lines, metadata }: DevicePlan,
  backend: string,
  has: BackendCapabilities,
): TraplineError[] {
  const problems: TraplineError[] = [];
  const lacks = (what: string, code: ErrorCode = 'TL_BACKEND_CAPABILITY') =>
    problems.push(new TraplineError(code, what, { who, details: { backend } }));
  if (!has.msi && parametersOf(device).some(({ token }) => token === Msi))
    lacks(`message-signalled interrupts, but ${backend} has none`);
  for (const [name, line] of lines) {
    if (line < has.irqLines) continue;
    lacks(`interrupt line ${line}${name ? ` (${name})` : ''}, but ${backend} has lines 0 to ${has.irqLines - 1}`);
  }
  for (const { options, member } of metadata.regions) {
    if (options.defer && !has.deferral)
      lacks(`${member ?? 'its region'} defers completion, which ${backend} cannot`, 'TL_DEFER_UNSUPPORTED');
  }
  return problems;
}
