import 'reflect-metadata';
import { inject, injectable } from 'tsyringe';
import type { Space } from '../backend/backend.js';
import { TraplineError } from '../errors.js';
import type { AsyncIoHandler, IoHandler, RegionMember, RegionOptions } from './handler.js';
import { knownKeys } from './known-keys.js';
import {
  CORE_PATH,
  type DeviceClass,
  type DeviceOptions,
  declareDevice,
  declareIrq,
  declareRegion,
} from './metadata.js';

const REGION_KEYS: readonly (keyof RegionOptions)[] = [
  'base',
  'size',
  'valid',
  'impl',
  'widths',
  'defer',
  'deadlineMs',
  'concurrent',
  'serve',
];

/** Works on a class whose instances handle accesses, and on a member that does. */
export interface RegionDecorator {
  <C extends DeviceClass<IoHandler>>(target: C): void;
  <K extends string, T extends { readonly [P in K]: RegionMember }>(target: T, member: K): void;
}

/** Like {@link RegionDecorator}, for handlers that may return promises. */
export interface AsyncRegionDecorator {
  <C extends DeviceClass<AsyncIoHandler>>(target: C): void;
  <K extends string, T extends { readonly [P in K]: AsyncIoHandler }>(target: T, member: K): void;
}

/**
 * Declares a device class. It needs no other decorator; its constructor parameters are injected
 * by type: {@link IrqLine}, {@link Clock}, {@link Options} and the other tokens.
 */
export function Device(options: DeviceOptions): (target: DeviceClass) => void {
  knownKeys(options, ['type', 'summary', 'irq', 'options', 'version', 'migrate'], '@Device', 'TL_DEVICE_CLASS');
  return (target) => {
    const listed: unknown = (target as { inject?: unknown }).inject;
    if (Array.isArray(listed)) Reflect.defineMetadata('design:paramtypes', listed, target);
    injectable()(target);
    declareDevice(target, { ...options, className: target.name, core: CORE_PATH, regions: [], irqs: [] });
  };
}

/** Declares a region of I/O ports, on a class or a member. `base` 0 to 0xffff. */
export function Pio(options: RegionOptions & { readonly defer: true }): AsyncRegionDecorator;
export function Pio(options?: RegionOptions & { readonly defer?: false }): RegionDecorator;
export function Pio(options: RegionOptions = {}): RegionDecorator {
  return region('pio', options);
}

/** Declares a region of guest-physical memory whose accesses trap, on a class or a member. */
export function Mmio(options: RegionOptions & { readonly defer: true }): AsyncRegionDecorator;
export function Mmio(options?: RegionOptions & { readonly defer?: false }): RegionDecorator;
export function Mmio(options: RegionOptions = {}): RegionDecorator {
  return region('mmio', options);
}

function region(space: Space, options: RegionOptions): RegionDecorator {
  knownKeys(options, REGION_KEYS, space === 'pio' ? '@Pio' : '@Mmio', 'TL_RANGE');
  return (target: object, member?: string) => {
    if (typeof target === 'function') declareRegion(target, { space, member: undefined, options });
    else declareRegion(target.constructor, { space, member, options });
  };
}

/**
 * Names a further interrupt line of a device: `@Irq('b', { default: 5 }) b: IrqLine`. The machine
 * sets it with `irq: { b: 7 }`.
 */
export function Irq(name: string, options: { readonly default?: number } = {}): ParameterDecorator {
  return (target, _property, parameter) => {
    if (typeof target !== 'function') {
      throw new TraplineError('TL_INJECT', '@Irq belongs on a constructor parameter', { who: name });
    }
    declareIrq(target, { parameter, name, fallback: options.default });
    inject(irqToken(name))(target, undefined, parameter);
  };
}

/** The injection token of a named line. */
export function irqToken(name: string): symbol {
  return Symbol.for(`trapline.irq.${name}`);
}
