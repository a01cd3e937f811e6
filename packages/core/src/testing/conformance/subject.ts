import { compileLayout } from '../../device/compiled-layout.js';
import { fieldMask } from '../../device/layout.js';
import type { DeviceClass } from '../../device/metadata.js';
import type { RegisterBlock } from '../../device/register-block.js';
import { messageOf } from '../../errors.js';
import type { ClientRange } from '../../ioreq/client.js';
import type { Snapshot } from '../../machine/vm-types.js';
import { driven } from '../drive.js';
import type { DrivenMachine } from '../driven-machine.js';
import { busOffset } from '../guest-registers.js';
import { blockOf } from '../promises.js';
import type { MapRegister } from './device-map.js';
import type { ConformanceSettings } from './settings.js';
import type { ReadStep, Step, WriteStep } from './steps.js';

/** Deadlines that may pass in one step; a fast periodic timer must not take the kit's time. */
const MOST_DEADLINES = 500;

/** One instance of the device under test. */
export class Subject {
  /** What the device failed with, whoever caused it. */
  failure: string | undefined;

  constructor(
    readonly machine: DrivenMachine,
    private readonly settings: ConformanceSettings,
  ) {
    settings.arrange?.(driven<DeviceClass>(machine));
  }

  /** Does one step. @returns the value of a read. Never throws: see {@link failure} */
  do(step: Step): number | undefined {
    try {
      const value = this.attempt(step);
      this.failure ??= this.machine.failure?.message;
      return value;
    } catch (thrown) {
      this.failure ??= this.machine.failure?.message ?? messageOf(thrown);
      return undefined;
    }
  }

  /** Saved and restored into a new instance, which takes this one's host resources with it. */
  reload(): Subject {
    const saved = JSON.stringify({ ...this.machine.save(), memory: undefined });
    const next = new Subject(this.machine.another(), this.settings);
    const { machine } = next;
    try {
      machine.memory.copyFrom(this.machine.memory);
      machine.random.catchUp(this.machine.random);
      machine.restore(JSON.parse(saved) as Snapshot);
      next.failure = machine.failure?.message;
    } catch (thrown) {
      next.failure = messageOf(thrown);
    }
    machine.takeMsis();
    return next;
  }

  /** Has the guest left, or asked for a reset? Then nothing that follows means anything. */
  get over(): boolean {
    return this.machine.vm.state !== 'running';
  }
  get now(): number {
    return this.machine.clock.now();
  }

  /** Levels of all lines, as `name=1 name=0`. */
  lines(): string {
    let text = '';
    for (const [name, line] of this.machine.inside.lines) text += `${name || 'irq'}=${line.level ? 1 : 0} `;
    return text;
  }

  /** Saved state without the lines. */
  parts(): Readonly<Record<string, unknown>> {
    return this.machine.inside.save().parts;
  }

  /** What a tool sees of a register, or undefined where it cannot look. */
  peek(register: MapRegister): number | undefined {
    const block = blockOf(this.machine.inside, register.region.name);
    if (block) return block.peekRow(register.r);
    return this.range(register.region.index).adapter.peek(register.offset, register.width);
  }

  /** What a register holds, whatever it reads as. */
  stored(register: MapRegister): number | undefined {
    const block = blockOf(this.machine.inside, register.region.name);
    if (block) return (block.cells[register.r] as number) >>> 0;
    // Where two registers share an offset, the one that is read tells nothing of the one that is written.
    return this.reaches(register, 'read') ? this.peek(register) : undefined;
  }

  /** Is the whole register what an access at its offset finds now? */
  reaches(register: MapRegister, direction: 'read' | 'write'): boolean {
    const { region, row, r } = register;
    const compiled = region.layout && compileLayout(region.layout);
    if (!compiled) return false;
    const block = blockOf(this.machine.inside, region.name);
    if (row.door === 'behind') {
      const map = direction === 'read' ? compiled.behindRead[row.group] : compiled.behindWrite[row.group];
      const index = (block?.cells[compiled.indexRows[row.group] as number] ?? 0) as number;
      return map?.[(index & (compiled.indexMasks[row.group] as number)) >>> 0] === r + 1;
    }
    const maps = direction === 'read' ? compiled.readMaps : compiled.writeMaps;
    const map = maps[block ? bankOf(block) : 0];
    for (let at = row.offset; at < row.offset + row.width; at++) if (map?.[at] !== r + 1) return false;
    return true;
  }

  /** Accesses after which a register is reached: its bank chosen, its index written. */
  routeTo(register: MapRegister): Step[] {
    const { region, row } = register;
    const { layout } = region;
    const block = blockOf(this.machine.inside, region.name);
    if (!layout || !block) return [];
    const doorway = (wanted: number, value: number): Step[] => {
      const door = layout.rows[wanted];
      if (!door) return [];
      const offset = busOffset(layout, door.offset, region.stride);
      return [{ kind: 'write', region: region.index, offset, size: door.width, value }];
    };
    if (row.door === 'behind') {
      const door = layout.rows.findIndex((other) => other.door === 'index' && other.group === row.group);
      return doorway(door, row.offset);
    }
    if (row.bank < 0 || row.bank === bankOf(block) || !layout.bankField) return [];
    const mask = fieldMask(layout.bankField);
    const now = block.cells[layout.bankRow] as number;
    return doorway(layout.bankRow, ((now & ~mask) | (row.bank << layout.bankField.lo)) >>> 0);
  }

  range(index: number): ClientRange {
    return this.machine.inside.ranges[index] as ClientRange;
  }

  private attempt(step: Step): number | undefined {
    const { machine } = this;
    switch (step.kind) {
      case 'read':
        return machine.read(this.range(step.region), step.offset, step.size);
      case 'write':
        machine.write(this.range(step.region), step.offset, step.size, step.value);
        return undefined;
      case 'read-parts': {
        let value = 0;
        for (let at = 0; at < step.size; at += step.part) {
          value += machine.read(this.range(step.region), step.offset + at, step.part) * 2 ** (8 * at);
        }
        return value;
      }
      case 'write-parts':
        for (let at = 0; at < step.size; at += step.part) {
          const value = Math.floor(step.value / 2 ** (8 * at)) % 2 ** (8 * step.part);
          machine.write(this.range(step.region), step.offset + at, step.part, value);
        }
        return undefined;
      case 'peek':
        return this.range(step.region).adapter.peek(step.offset, step.size);
      case 'direct-read':
      case 'direct-write':
        this.direct(step);
        return undefined;
      case 'advance':
        machine.clock.advance(step.ms, MOST_DEADLINES);
        return undefined;
      case 'reset':
        machine.reset('bus');
        return undefined;
      case 'event':
        this.settings.events?.[step.name]?.(driven<DeviceClass>(machine));
        return undefined;
      case 'reload':
        throw new Error('a reload makes a new subject');
    }
  }

  /** Calls a handler past the bus; it may refuse by throwing. */
  private direct(step: ReadStep | WriteStep): void {
    const { handler } = this.range(step.region).adapter;
    try {
      if ('value' in step) handler.write(step.offset, step.size, step.value);
      else handler.read(step.offset, step.size);
    } catch {
      // As good as ignoring it.
    }
  }
}

/** Value of the field that selects the bank; 0 without banks. */
export function bankOf(block: RegisterBlock): number {
  const { bankRow, bankField } = block.layout;
  if (bankRow < 0 || !bankField) return 0;
  return ((block.cells[bankRow] as number) & fieldMask(bankField)) >>> bankField.lo;
}
