import type { DeviceClass } from '../device/metadata.js';
import type { GuestMemory } from '../device/tokens.js';
import { TraplineError } from '../errors.js';
import type { ClientRange } from '../ioreq/client.js';
import type { LogRecord } from '../log.js';
import type { UseConfig } from '../machine/define.js';
import type { ResetKind } from '../machine/device-instance.js';
import type { Vm } from '../machine/vm.js';
import type { Snapshot } from '../machine/vm-types.js';
import type { DrivenClock } from './driven-clock.js';
import { type DrivenMachine, MachineMaker } from './driven-machine.js';
import { guestRegisters } from './guest-registers.js';
import type { GuestAsyncRegion, GuestOf, GuestRegion } from './guest-view.js';
import { blockOf } from './promises.js';

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
  /** Machine time; `advance(ms)` fires timers, and throws if one makes the device fail. */
  readonly clock: DrivenClock;
  /** Its unnamed interrupt line, or the only one it has. */
  readonly irq: DrivenLine;
  /** Every line by name; the unnamed one is `irq`. */
  readonly lines: Readonly<Record<string, DrivenLine>>;
  /** 1 MiB of guest memory from address 0. */
  readonly memory: GuestMemory;
  /** MSIs sent since the last look. */
  takeMsis(): { readonly address: number; readonly data: number }[];
  /** What the device logged. */
  readonly log: readonly LogRecord[];
  /** What its host resources opened to, by option. */
  readonly opened: Readonly<Record<string, unknown>>;
  /** Set once the device has failed. */
  readonly failure: TraplineError | undefined;
  reset(kind?: ResetKind): void;
  /** State, time and guest memory. */
  save(): Snapshot;
  /** @throws TraplineError `TL_STATE_INVALID` */
  restore(snapshot: Snapshot): void;
  /** Gives host resources back; a test without any need not call it. */
  close(): Promise<void>;
  readonly vm: Vm;
}

/**
 * Puts one device into a machine of its own, without any VM: its guest side, its time and its lines
 * are in the test's hands. Host resources among the options must open synchronously.
 *
 * @throws CompositionError if the device or its options are not usable, the device's own error if it fails at power-on
 */
export function drive<C extends DeviceClass>(device: C, config?: UseConfig<C>): Driven<C> {
  return driven<C>(new MachineMaker(device, config ?? {}).make());
}

/** The test's side of a machine. */
export function driven<C extends DeviceClass>(machine: DrivenMachine): Driven<C> {
  const { inside } = machine;
  const lines = Object.fromEntries([...inside.lines].map(([name, line]) => [name || 'irq', line]));
  return {
    device: inside.instance as InstanceType<C>,
    guest: guestOf(machine) as GuestOf<InstanceType<C>>,
    clock: machine.clock,
    get irq(): DrivenLine {
      const line = lines.irq ?? Object.values(lines)[0];
      if (line) return line;
      throw new TraplineError('TL_IRQ', 'the device drives no interrupt line', {
        who: inside.plan.metadata.className,
      });
    },
    lines,
    memory: machine.memory,
    takeMsis: () => machine.takeMsis(),
    log: machine.log,
    opened: Object.fromEntries(
      inside.plan.resources.map(({ option, resource }) => [option, machine.opened.get(resource)]),
    ),
    get failure() {
      return machine.failure;
    },
    reset(kind = 'bus') {
      machine.reset(kind);
      machine.raise();
    },
    save: () => machine.save(),
    restore(snapshot) {
      machine.restore(snapshot);
      machine.raise();
    },
    close: () => machine.vm.close(),
    vm: machine.vm,
  };
}

function guestOf(machine: DrivenMachine): Record<string, unknown> {
  const guest: Record<string, unknown> = {};
  const { inside } = machine;
  for (const range of inside.ranges) {
    const block = blockOf(inside, range.region);
    const place = inside.plan.places.get(range.region);
    const plain = range.deferred ? asyncRegion(machine, range) : region(machine, range, block?.layout.width ?? 1);
    if (block) guest[range.region] = guestRegisters(block, plain as GuestRegion, place?.stride ?? block.layout.width);
    else if (range.region) guest[range.region] = plain;
    else Object.assign(guest, plain);
  }
  return guest;
}

function region(machine: DrivenMachine, range: ClientRange, width: number): GuestRegion {
  return {
    read(offset, size = width) {
      const value = machine.read(range, offset, size);
      machine.raise();
      return value;
    },
    write(offset, size, value) {
      machine.write(range, offset, size, value);
      machine.raise();
    },
    peek: (offset, size = width) => range.adapter.peek(offset, size) ?? 0,
  };
}

function asyncRegion(machine: DrivenMachine, range: ClientRange): GuestAsyncRegion {
  return {
    async read(offset, size = 1) {
      const value = await machine.readAsync(range, offset, size);
      machine.raise();
      return value;
    },
    async write(offset, size, value) {
      await machine.writeAsync(range, offset, size, value);
      machine.raise();
    },
  };
}
