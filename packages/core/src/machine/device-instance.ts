import type { DevicePart, PartContext } from '../device/part.js';
import { Construction } from '../device/part.js';
import { REGISTERS } from '../device/register-types.js';
import { isRegisters } from '../device/registers.js';
import { Latch } from '../device/service.js';
import { isState, STATE_CELLS } from '../device/state.js';
import { messageOf, TraplineError, textOf } from '../errors.js';
import type { ClientRange, IoreqClient } from '../ioreq/client.js';
import type { DeviceServices } from './device-services.js';
import type { IrqSource } from './interrupts.js';
import type { DevicePlan } from './plan.js';

/** What caused a reset: power on, the machine's (or bus's) reset, the device's own. */
export type ResetKind = 'power' | 'bus' | 'soft';

/** Optional hooks of a device class. */
export interface DeviceHooks {
  /** After registers, state and lines went to their initial values. */
  onReset?(kind: ResetKind): void;
  /** After saved state was put back; the place to recompute what is derived from it. */
  onRestored?(): void;
  /** The machine pauses, or ends: stop taking from the host. */
  onPause?(): void;
  /** The machine starts, or goes on. */
  onResume?(): void;
}

/** Saved state of one device. Plain data. */
export interface SavedDevice {
  readonly type: string;
  readonly version: number;
  /** By member name: what its registers and state hold. */
  readonly parts: Readonly<Record<string, unknown>>;
  /** Levels it drives, by line name. */
  readonly lines: Readonly<Record<string, boolean>>;
}

/** A constructed device and everything the framework does for it. */
export class DeviceInstance {
  readonly parts = new Map<string, DevicePart>();
  ranges: readonly ClientRange[] = [];
  private awake = false;

  constructor(
    readonly plan: DevicePlan,
    readonly instance: object,
    readonly services: DeviceServices,
    private readonly fail: (error: TraplineError) => void,
  ) {}

  /** Constructs a device so that its parts know their machine. */
  static construct(context: PartContext, construct: () => object): { instance: object; made: Construction } {
    const made = new Construction(context);
    return { instance: made.run(construct), made };
  }

  /** Finds registers and state; whatever the device made but hid is a problem. */
  adopt(made: Construction, problems: TraplineError[]): void {
    const found = new Set<unknown>();
    for (const [name, value] of Object.entries(this.instance)) {
      const part = partOf(value);
      if (!part) continue;
      this.parts.set(name, part);
      found.add(part.slot);
    }
    if (made.parts.some(({ slot }) => !found.has(slot))) {
      const what = `${this.plan.metadata.className} keeps registers or state where the framework cannot see them`;
      problems.push(new TraplineError('TL_STATE_HIDDEN', what, { who: this.plan.id }));
    }
  }

  get id(): string {
    return this.plan.id;
  }
  get client(): IoreqClient {
    return this.services.client;
  }
  get lines(): ReadonlyMap<string, IrqSource> {
    return this.services.lines;
  }

  reset(kind: ResetKind): void {
    for (const part of this.parts.values()) part.reset();
    for (const line of this.lines.values()) line.set(false);
    this.hook('onReset', kind);
  }

  /** Puts it to sleep, if it is awake. */
  pause(): void {
    if (!this.awake) return;
    this.awake = false;
    this.hook('onPause');
  }
  /** Wakes it, if it sleeps. */
  resume(): void {
    if (this.awake) return;
    this.awake = true;
    this.hook('onResume');
  }

  save(): SavedDevice {
    return {
      type: this.plan.metadata.type,
      version: this.plan.metadata.version ?? 1,
      parts: Object.fromEntries([...this.parts].map(([name, part]) => [name, part.save()])),
      lines: Object.fromEntries([...this.lines].map(([name, line]) => [name, line.level])),
    };
  }

  /** Checks saved state whole. @returns applies it. @throws TraplineError `TL_STATE_INVALID` */
  check(saved: unknown): () => void {
    const { id } = this;
    const invalid = (what: string): never => {
      throw new TraplineError('TL_STATE_INVALID', what, { who: id });
    };
    if (typeof saved !== 'object' || saved === null) return invalid('there is no saved state for it');
    const { type, version, parts, lines } = saved as Partial<SavedDevice>;
    const { metadata } = this.plan;
    if (type !== metadata.type) return invalid(`the saved state is of a ${textOf(type)}, not a ${metadata.type}`);
    const wanted = metadata.version ?? 1;
    if (typeof version !== 'number' || !Number.isInteger(version) || !isRecord(parts) || !isRecord(lines))
      return invalid('the saved state is damaged');
    let current: unknown = parts;
    if (version !== wanted) {
      if (version > wanted || !metadata.migrate)
        return invalid(`the saved state has version ${version}, the device ${wanted}`);
      try {
        current = metadata.migrate({ version, parts });
      } catch (thrown) {
        return invalid(`its migrate from version ${version} threw ${messageOf(thrown)}`);
      }
    }
    if (!isRecord(current)) return invalid('its migrate gave no parts');
    const stray = Object.keys(current).find((name) => !this.parts.has(name));
    if (stray !== undefined) return invalid(`the saved state has the unknown part ${stray}`);
    const values = current;
    const apply = [...this.parts].map(([name, part]) => part.check(values[name], `${id}.${name}`));
    const names = new Set([...this.lines.keys(), ...Object.keys(lines)]);
    const bad = [...names].find((name) => !this.lines.has(name) || typeof lines[name] !== 'boolean');
    // An older version may have had other lines.
    if (bad !== undefined && version === wanted) return invalid(`the saved state lacks the level of ${bad || 'irq'}`);
    const levels = [...this.lines].map(([name, line]) => [line, lines[name] === true] as const);
    return () => {
      // Those it set by itself belong to the time before; those of its state come back with it.
      this.services.clock.cancelAll();
      for (const run of apply) run();
      for (const [line, level] of levels) line.set(level);
      this.hook('onRestored');
    };
  }

  /** Runs something as this device: what it throws costs the device. */
  guard(what: string, run: () => unknown): void {
    if (this.client.failure) return;
    const failed = (thrown: unknown) =>
      this.fail(
        new TraplineError('TL_DEVICE_HOOK', `${what} threw ${messageOf(thrown)}`, { who: this.id, cause: thrown }),
      );
    try {
      const result: unknown = run();
      // It may go on by itself; should it fail, that is the device's failure too.
      if (result instanceof Promise) result.catch(failed);
    } catch (thrown) {
      failed(thrown);
    }
  }

  private hook<K extends keyof DeviceHooks>(name: K, ...args: Parameters<NonNullable<DeviceHooks[K]>>): void {
    const hooks = this.instance as DeviceHooks;
    const hook = hooks[name] as ((...args: unknown[]) => void) | undefined;
    if (typeof hook === 'function') this.guard(name, () => hook.apply(this.instance, args));
  }
}

function isRecord(value: unknown): value is Readonly<Record<string, unknown>> {
  return typeof value === 'object' && value !== null;
}

/** The part behind a member of a device, if it is one. */
function partOf(value: unknown): DevicePart | undefined {
  if (isRegisters(value)) return value[REGISTERS];
  if (isState(value)) return value[STATE_CELLS];
  return value instanceof Latch ? value : undefined;
}
