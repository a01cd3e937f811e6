import { ALL_WIDTHS } from '../bus/range.js';
import { WidthAdapter } from '../bus/width-adapter.js';
import type { Attachment } from '../device/attachment.js';
import type { AccessRule, AsyncIoHandler, IoHandler } from '../device/handler.js';
import { isHandler, type RegionDeclaration } from '../device/metadata.js';
import { REGISTERS } from '../device/register-types.js';
import { isRegisters } from '../device/registers.js';
import { isServed } from '../device/service.js';
import { TraplineError } from '../errors.js';
import type { ClientRange, IoreqClient } from '../ioreq/client.js';
import type { DevicePlan } from './plan.js';

const DEFAULT_DEADLINE_MS = 5000;

/** Register blocks sort out partial and misaligned accesses themselves. */
export const REGISTER_RULE: AccessRule = { min: 1, max: 4, unaligned: true };

/** The ranges of a constructed device; what is wrong with its regions is added to `problems`. */
export function regionsOf(
  plan: DevicePlan,
  instance: object,
  client: IoreqClient,
  problems: TraplineError[],
): ClientRange[] {
  return plan.metadata.regions.flatMap((region) => {
    const range = rangeOf(plan, region, instance, client, problems);
    return range ? [range] : [];
  });
}

function rangeOf(
  plan: DevicePlan,
  region: RegionDeclaration,
  instance: object,
  client: IoreqClient,
  problems: TraplineError[],
): ClientRange | undefined {
  const name = region.member ?? '';
  const who = name ? `${plan.id}.${name}` : plan.id;
  const place: Attachment | undefined = plan.places.get(name);
  const problem = (what: string, fix?: string): undefined => {
    problems.push(new TraplineError('TL_RANGE', what, { who, fix }));
    return undefined;
  };
  const target: unknown = name ? (instance as Record<string, unknown>)[name] : instance;
  const block = isRegisters(target) ? target[REGISTERS] : undefined;
  const handler: IoHandler | undefined = block ?? (isHandler(target) ? target : undefined);
  if (!handler)
    return problem(`${name || plan.metadata.className} is neither registers nor a handler with read and write`);
  const { options } = region;
  client.defers ||= options.defer === true;
  const base = place?.base ?? options.base;
  if (base === undefined) return problem('has no address', `give at: ${region.space}(0x...)`);
  const served = isServed(target) ? target : undefined;
  if (options.serve !== undefined && served?.serves !== options.serve) {
    return problem(`declares serve: '${options.serve}', but is no ${options.serve}(...)`);
  }
  const deviceSize = options.size ?? block?.layout.size ?? served?.size;
  if (deviceSize === undefined)
    return problem('has no size', `declare size in @${region.space === 'pio' ? 'Pio' : 'Mmio'}`);
  const impl = options.impl ?? (block ? REGISTER_RULE : {});
  const { min = 1, max = 4 } = impl;
  if (![1, 2, 4].includes(min) || ![1, 2, 4, 8].includes(max) || min > max)
    return problem(`impl asks for accesses of ${min} to ${max} bytes`, 'a handler takes 1, 2 or 4 bytes');
  const stride = place?.stride;
  const endian = place?.endian ?? 'little';
  if (deviceSize % min !== 0) return problem(`its size ${deviceSize} is no multiple of its smallest access`);
  const unit = block?.layout.width ?? (endian === 'big' && stride === undefined ? largestUnit(deviceSize, max) : min);
  if (stride !== undefined && !(stride >= unit))
    return problem(`stride ${stride} is less than its registers of ${unit} bytes`);
  if (endian === 'big' && deviceSize % unit !== 0)
    return problem(`its size ${deviceSize} is no multiple of its registers of ${unit} bytes`);
  if (options.defer && (stride !== undefined || endian === 'big')) {
    return problem(
      'defers completion, which takes no stride and no byte order',
      `attach it with ${region.space}(0x...) alone`,
    );
  }
  // A deferred access reaches its handler as it is: nothing is split that could finish in two halves.
  const valid = options.valid ?? (options.defer ? { ...impl, max } : {});
  if (options.defer && (valid.max ?? 8) > 4)
    return problem('defers completion, which takes at most 4 bytes', 'declare valid: { max: 4 }');
  const adapter = new WidthAdapter(handler, deviceSize, unit, impl, valid, { stride, endian });
  return {
    space: place?.kind ?? region.space,
    base,
    size: adapter.size,
    widths: options.widths?.reduce<number>((set, width) => set | width, 0) ?? ALL_WIDTHS,
    dynamic: false,
    owner: who,
    client,
    region: name,
    adapter,
    // Byte order, stride and rules of its own are beyond what a backend serves.
    ...(served && options.serve && stride === undefined && endian === 'little' && !options.valid && !options.impl
      ? { served }
      : {}),
    ...(options.defer
      ? {
          deferred: {
            handler: handler as unknown as AsyncIoHandler,
            deadlineMs: options.deadlineMs ?? DEFAULT_DEADLINE_MS,
            concurrent: options.concurrent ?? false,
          },
        }
      : {}),
  };
}

/** What big-endian order reverses where nothing tells registers apart: the largest access that fits throughout. */
function largestUnit(deviceSize: number, max: number): number {
  let unit = max;
  while (unit > 1 && deviceSize % unit !== 0) unit /= 2;
  return unit;
}
