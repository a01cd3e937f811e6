import { z } from 'zod';
import { TraplineError } from '../errors.js';
import { HOST_RESOURCE, type HostResource } from './tokens.js';

/** Makes a {@link HostResource}. */
export function hostResource<T>(
  description: string,
  open: (signal: AbortSignal) => T | Promise<T>,
  close: (opened: T) => void | Promise<void> = () => {},
): HostResource<T> {
  return { [HOST_RESOURCE]: true, description, open, close };
}

/** Is this a {@link HostResource}? */
export function isHostResource(value: unknown): value is HostResource<unknown> {
  return typeof value === 'object' && value !== null && HOST_RESOURCE in value;
}

/** Schema of an option that takes a host resource of one kind. */
export function resourceOption<T>(kind: string): z.ZodType<HostResource<T>, HostResource<T>> {
  return z.custom<HostResource<T>>(isHostResource, `expected a ${kind}`).meta({ title: kind }) as z.ZodType<
    HostResource<T>,
    HostResource<T>
  >;
}

/** What stands in for an opened resource while none is open: any use is a clear error. */
export function unopened(resource: HostResource<unknown>): unknown {
  const refuse = (): never => {
    throw new TraplineError('TL_RESOURCE_NOT_OPEN', `${resource.description} is not open`, {
      who: resource.description,
    });
  };
  return new Proxy(Object.freeze({}), { get: refuse, set: refuse, has: refuse, ownKeys: refuse });
}
