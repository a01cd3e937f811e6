import fc from 'fast-check';
import { describe, expect, it } from 'vitest';
import { boot } from '../../test/machine.js';
import { Device, Irq, Pio } from '../device/decorators.js';
import { IrqLine } from '../device/tokens.js';
import { use } from './define.js';
import { defaultLineMode, InterruptLines } from './interrupts.js';

describe('an interrupt line', () => {
  it('is the OR of its sources, and only changes are driven', () => {
    const event = fc.record({ source: fc.nat(3), level: fc.boolean() });
    fc.assert(
      fc.property(fc.array(event, { maxLength: 40 }), (events) => {
        const lines = new InterruptLines();
        const driven: boolean[] = [];
        lines.connect((_line, level) => driven.push(level));
        const sources = Array.from({ length: 4 }, (_, i) => lines.source(`s${i}`, 5));
        const levels = [false, false, false, false];
        const expected: boolean[] = [];
        for (const { source, level } of events) {
          const before = levels.includes(true);
          levels[source] = level;
          if (levels.includes(true) !== before) expected.push(!before);
          sources[source]?.set(level);
          expect(sources.map((one) => one.level)).toEqual(levels);
          expect(lines.level(5)).toBe(levels.includes(true));
        }
        expect(driven).toEqual(expected);
      }),
    );
  });

  it('takes untyped levels for what they mean', () => {
    const lines = new InterruptLines();
    const driven: boolean[] = [];
    lines.connect((_line, level) => driven.push(level));
    const source = lines.source('s', 1);
    for (const level of [1, true, 'yes', 0, undefined, false]) source.set(level as boolean);
    expect(driven).toEqual([true, false]);
  });

  it('gives one edge for a pulse, and none while another source holds it', () => {
    const lines = new InterruptLines();
    const driven: boolean[] = [];
    lines.connect((_line, level) => driven.push(level));
    const [a, b] = [lines.source('a', 1), lines.source('b', 1)];
    a.pulse();
    b.set(true);
    a.pulse();
    expect(driven).toEqual([true, false, true]);
    expect(a.raised).toBe(2);
  });

  it('is driven when its controller is connected late', () => {
    const lines = new InterruptLines();
    lines.source('a', 7).set(true);
    lines.source('b', 8).pulse();
    const driven: number[] = [];
    lines.connect((line) => driven.push(line));
    expect(driven).toEqual([7]);
  });

  it('goes down with a source that is disconnected, and stays there for it', () => {
    const lines = new InterruptLines();
    const source = lines.source('a', 1);
    source.set(true);
    source.disconnect();
    source.set(true);
    expect([lines.level(1), source.level]).toEqual([false, false]);
  });

  it('is edge and high below 16, level and low above, as on a PC', () => {
    expect(defaultLineMode(15)).toEqual({ trigger: 'edge', polarity: 'high' });
    expect(defaultLineMode(16)).toEqual({ trigger: 'level', polarity: 'low' });
  });
});

@Device({ type: 'ringer', summary: 'drives its lines by command', irq: 4 })
@Pio({ base: 0x10, size: 2 })
class Ringer {
  constructor(
    private readonly irq: IrqLine,
    @Irq('b', { default: 9 }) private readonly other: IrqLine,
  ) {}
  read() {
    return 0;
  }
  write(offset: number, _size: number, value: number) {
    (offset === 0 ? this.irq : this.other).set(value !== 0);
  }
}

describe('lines of a machine', () => {
  const two = () => {
    const order: string[] = [];
    const booted = boot(
      { a: use(Ringer), b: use(Ringer, { at: { kind: 'pio', base: 0x20 }, irq: { irq: 4, b: 10 } }) },
      {
        wrap: (sim) => {
          const [setIrqLine, complete] = [sim.setIrqLine.bind(sim), sim.complete.bind(sim)];
          sim.setIrqLine = (line, level) => {
            order.push(`${line}${level ? '+' : '-'}`);
            setIrqLine(line, level);
          };
          sim.complete = (slot, generation) => {
            order.push('done');
            return complete(slot, generation);
          };
          return sim;
        },
      },
    );
    return { ...booted, order };
  };

  it('reach the backend before the slot of the access that drove them completes', () => {
    const { outb, order } = two();
    outb(0x10, 1);
    outb(0x10, 0);
    expect(order).toEqual(['4+', 'done', '4-', 'done']);
  });

  it('are shared by two devices: the line stays up until both let go', () => {
    const { outb, order, cpu } = two();
    outb(0x10, 1);
    outb(0x20, 1);
    outb(0x10, 0);
    expect(cpu.line(4)).toBe(true);
    outb(0x20, 0);
    expect(cpu.line(4)).toBe(false);
    expect(order.filter((what) => what !== 'done')).toEqual(['4+', '4-']);
  });

  it('are numbered by name, by the machine or by their default', () => {
    const { outb, cpu } = two();
    outb(0x11, 1);
    expect([cpu.line(9), cpu.line(10)]).toEqual([true, false]);
    outb(0x21, 1);
    expect(cpu.line(10)).toBe(true);
  });

  it('go down when their device is detached, and it cannot raise them again', () => {
    const { vm, outb, cpu } = two();
    outb(0x10, 1);
    const detached = vm.devices.a as unknown as { irq: IrqLine };
    void vm.detach('a');
    expect(cpu.line(4)).toBe(false);
    detached.irq.set(true);
    expect(cpu.line(4)).toBe(false);
  });

  it('reach nobody once the machine is closed', async () => {
    const { vm, order } = two();
    const left = vm.devices.a as unknown as { irq: IrqLine };
    await vm.close();
    order.length = 0;
    left.irq.set(true);
    expect(order).toEqual([]);
  });
});
