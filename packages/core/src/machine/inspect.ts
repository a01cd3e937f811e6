// A device type as data, with no machine: for `trapline devices`, documentation and tools.
import { z } from 'zod';
import type { Space } from '../backend/backend.js';
import { describe, type RegisterDescription } from '../device/describe.js';
import { hostResource, isHostResource } from '../device/host-resource.js';
import { type DeviceClass, type DeviceMetadata, deviceMetadata } from '../device/metadata.js';
import { REGISTERS } from '../device/register-types.js';
import { isRegisters } from '../device/registers.js';
import { TraplineError } from '../errors.js';
import { takesUnnamedLine } from './inject.js';
import { type DevicePlan, planDevice } from './plan.js';
import { tryOut } from './preview.js';

/** One option of a device type. */
export interface OptionDescription {
  readonly name: string;
  /** `integer`, `string`, `'a' | 'b'`, or the title of the schema: `console`. */
  readonly type: string;
  readonly required: boolean;
  /** What it is when left out, if that is plain data. */
  readonly default?: unknown;
  readonly description?: string;
}

/** Everything that can be said about a device type without running it. */
export interface DeviceDescription {
  readonly type: string;
  readonly summary: string;
  readonly options: readonly OptionDescription[];
  /** Interrupt lines; `irq` is the unnamed one. */
  readonly lines: readonly { readonly name: string; readonly default?: number }[];
  /** `name` is empty for a region of the class itself. */
  readonly regions: readonly {
    readonly name: string;
    readonly space: Space;
    readonly base?: number;
    readonly size?: number;
    readonly registers: readonly RegisterDescription[];
  }[];
  /** Why the registers are not known: the device could not be constructed. */
  readonly problem?: TraplineError;
}

/**
 * Describes a device type. Its constructor runs once, with default options and nothing open behind
 * them: registers are made there.
 * @throws TraplineError `TL_DEVICE_CLASS`
 */
export function inspectDevice(device: DeviceClass): DeviceDescription {
  const metadata = deviceMetadata(device);
  if (!metadata) throw new TraplineError('TL_DEVICE_CLASS', `${device.name} is not decorated with @Device`);
  const { instance, problem } = construct(device, metadata);
  const lines = metadata.irqs.map(({ name, fallback }) => ({ name, default: fallback }));
  if (takesUnnamedLine(device)) lines.unshift({ name: 'irq', default: metadata.irq });
  const regions = metadata.regions.map(({ member, space, options }) => {
    const target: unknown = member === undefined ? undefined : instance?.[member];
    const registers = isRegisters(target) ? target : undefined;
    return {
      name: member ?? '',
      space,
      base: options.base,
      size: options.size ?? registers?.[REGISTERS].layout.size,
      registers: registers ? describe(registers) : [],
    };
  });
  const { type, summary } = metadata;
  return { type, summary, options: describeOptions(metadata), lines, regions, ...(problem ? { problem } : {}) };
}

/** Constructs a device as a check does, on its declared defaults. */
function construct(
  device: DeviceClass,
  metadata: DeviceMetadata,
): { readonly instance?: Readonly<Record<string, unknown>>; readonly problem?: TraplineError } {
  const found: TraplineError[] = [];
  const given = planDevice(metadata.type, device, {}, found);
  const [unusable] = found.filter(({ code }) => code === 'TL_INJECT' || code === 'TL_DUPLICATE_CORE');
  if (!given || unusable) return { problem: unusable };
  const options = defaults(metadata);
  const plan: DevicePlan = {
    ...given,
    options,
    resources: Object.entries(options).flatMap(([option, resource]) =>
      isHostResource(resource) ? [{ option, resource }] : [],
    ),
    lines: new Map([
      ...(takesUnnamedLine(device) ? [['', metadata.irq ?? 0] as const] : []),
      ...metadata.irqs.map(({ name, fallback }) => [name, fallback ?? 0] as const),
    ]),
  };
  // Homeless regions are problems here, and expected: nobody said where the device goes.
  const { devices, broken } = tryOut([plan], []);
  const instance = devices.get(metadata.type)?.instance as Readonly<Record<string, unknown>> | undefined;
  return instance ? { instance } : { problem: broken.get(metadata.type) };
}

/** Default options; a host resource, which can never be opened, stands for what has no default. */
function defaults(metadata: DeviceMetadata): Readonly<Record<string, unknown>> {
  const shape = (metadata.options?.shape ?? {}) as Readonly<Record<string, z.ZodType>>;
  return Object.fromEntries(
    Object.entries(shape).map(([name, schema]) => {
      const result = schema.safeParse(undefined);
      return [name, result.success ? result.data : hostResource(name, () => undefined)];
    }),
  );
}

interface JsonSchema {
  readonly type?: string | readonly string[];
  readonly title?: string;
  readonly enum?: readonly unknown[];
  readonly const?: unknown;
  readonly anyOf?: readonly JsonSchema[];
  readonly items?: JsonSchema;
  readonly default?: unknown;
  readonly description?: string;
}

function describeOptions(metadata: DeviceMetadata): OptionDescription[] {
  if (!metadata.options) return [];
  const schema = z.toJSONSchema(metadata.options, { io: 'input', unrepresentable: 'any' });
  const properties = (schema.properties ?? {}) as Readonly<Record<string, JsonSchema>>;
  const required = new Set(schema.required ?? []);
  return Object.entries(properties).map(([name, option]) => ({
    name,
    type: typeText(option),
    required: required.has(name) && !acceptsNothing(metadata, name),
    ...(option.default === undefined ? {} : { default: option.default }),
    ...(option.description === undefined ? {} : { description: option.description }),
  }));
}

/** A custom schema does not say whether it may be left out: ask it. */
function acceptsNothing(metadata: DeviceMetadata, name: string): boolean {
  return ((metadata.options?.shape[name] as z.ZodType | undefined)?.safeParse(undefined).success ?? false) === true;
}

function typeText(schema: JsonSchema): string {
  if (schema.title !== undefined) return schema.title;
  if (schema.enum) return schema.enum.map((value) => JSON.stringify(value)).join(' | ');
  if (schema.const !== undefined) return JSON.stringify(schema.const);
  if (schema.anyOf) return schema.anyOf.map(typeText).join(' | ');
  if (schema.type === 'array') return `${typeText(schema.items ?? {})}[]`;
  return typeof schema.type === 'string' ? schema.type : (schema.type?.join(' | ') ?? 'any');
}
