// Constructor injection: which tokens exist, and the check that makes every mistake an error that
// names class, parameter and cause before anything is constructed.
import 'reflect-metadata';
import { container, type DependencyContainer, type InjectionToken } from 'tsyringe';
import { irqToken } from '../device/decorators.js';
import type { DeviceClass, DeviceMetadata } from '../device/metadata.js';
import {
  Clock,
  Decoder,
  GuestMemory,
  Inbox,
  IrqLine,
  Log,
  MachineControl,
  Msi,
  Options,
  Random,
} from '../device/tokens.js';
import { TraplineError } from '../errors.js';

/** The tokens the framework itself provides. */
export const TOKENS = [IrqLine, Msi, GuestMemory, Clock, MachineControl, Log, Options, Random, Inbox, Decoder] as const;

/** What a device is given, by token. */
export interface Provisions {
  /** Lines by name; the unnamed one is `''`. */
  readonly lines: ReadonlyMap<string, IrqLine>;
  readonly msi: Msi;
  readonly memory: GuestMemory;
  readonly clock: Clock;
  readonly control: MachineControl;
  readonly log: Log;
  readonly options: object;
  readonly random: Random;
  readonly inbox: Inbox;
  readonly decoder: Decoder;
}

/** One constructor parameter. */
export interface Parameter {
  readonly index: number;
  readonly name: string;
  readonly token: unknown;
}

/** The parameters of a device class, from emitted metadata, `static inject` or `@Irq`. */
export function parametersOf(device: DeviceClass): Parameter[] {
  const types = (Reflect.getOwnMetadata('design:paramtypes', device) as unknown[] | undefined) ?? [];
  const explicit = (Reflect.getOwnMetadata('injectionTokens', device) as Record<number, unknown> | undefined) ?? {};
  const names = parameterNames(device);
  const count = Math.max(types.length, device.length, ...Object.keys(explicit).map((i) => Number(i) + 1));
  return Array.from({ length: count }, (_, index) => ({
    index,
    name: names[index] ?? `#${index}`,
    token: explicit[index] ?? types[index],
  }));
}

/** Does the device take the unnamed interrupt line? */
export function takesUnnamedLine(device: DeviceClass): boolean {
  return parametersOf(device).some(({ token }) => token === IrqLine);
}

/** Everything wrong with the constructor of a device. */
export function injectionProblems(who: string, metadata: DeviceMetadata, device: DeviceClass): TraplineError[] {
  const problems: TraplineError[] = [];
  if (device.length > 0 && Reflect.getOwnMetadata('design:paramtypes', device) === undefined) {
    const fix = 'compile with emitDecoratorMetadata, or list the classes: static inject = [IrqLine, Clock] as const';
    const what = `${metadata.className}'s constructor has ${device.length} parameters, but no decorator metadata was emitted for it`;
    return [new TraplineError('TL_INJECT', what, { who, fix })];
  }
  for (const { index, name, token } of parametersOf(device)) {
    const cause = tokenProblem(token);
    if (cause === undefined) continue;
    problems.push(
      new TraplineError(
        'TL_INJECT',
        `parameter ${index + 1} (${name}) of ${metadata.className} cannot be injected: ${cause}`,
        {
          who,
          details: { class: metadata.className, parameter: name },
        },
      ),
    );
  }
  return problems;
}

function tokenProblem(token: unknown): string | undefined {
  if ((TOKENS as readonly unknown[]).includes(token) || typeof token === 'symbol') return undefined;
  if (token === undefined) return 'its type is unknown at run time (a circular import, or missing in static inject)';
  if (typeof token !== 'function') return undefined;
  if ([Object, Function].includes(token as never)) {
    return 'its type was erased (an interface, a union, or an `import type` of a class)';
  }
  if ([String, Number, Boolean, Array, Promise].includes(token as never)) {
    return `its type ${token.name} is no class of the framework; take it from Options<...>`;
  }
  if (TOKENS.some((known) => known.name === token.name)) {
    return `it is the ${token.name} of another copy of @trapline/core`;
  }
  const constructible = token.length === 0 || Reflect.getOwnMetadata('design:paramtypes', token) !== undefined;
  if (container.isRegistered(token as InjectionToken) || constructible) return undefined;
  return `nothing provides a ${token.name}`;
}

/** Constructs a device in a container of its own. Whatever its constructor throws goes through. */
export function constructDevice(machine: DependencyContainer, device: DeviceClass, give: Provisions): object {
  const child = machine.createChildContainer();
  const put = <T>(token: abstract new (...args: never[]) => T, value: T) =>
    child.register(token as InjectionToken<T>, { useValue: value });
  const unnamed = give.lines.get('');
  if (unnamed) put(IrqLine, unnamed);
  for (const [name, line] of give.lines) if (name !== '') child.register(irqToken(name), { useValue: line });
  put(Msi, give.msi);
  put(GuestMemory, give.memory);
  put(Clock, give.clock);
  put(MachineControl, give.control);
  put(Log, give.log);
  put(Options, give.options);
  put(Random, give.random);
  put(Inbox, give.inbox);
  put(Decoder, give.decoder);
  return child.resolve(device as InjectionToken<object>);
}

/** A container for one machine. */
export function machineContainer(): DependencyContainer {
  return container.createChildContainer();
}

/** Names of constructor parameters, from the source of the class: for messages only. */
function parameterNames(device: DeviceClass): string[] {
  const list = /constructor\s*\(([^)]*)\)/.exec(String(device))?.[1] ?? '';
  return list
    .split(',')
    .map((parameter) => parameter.trim().split(/[\s=:]/)[0] ?? '')
    .filter((name) => name !== '');
}
