import { describe, expect, it } from 'vitest';
import { z } from 'zod';
import {
  bit,
  Device,
  type HostResource,
  IrqLine,
  inspectDevice,
  layout,
  Mmio,
  Options,
  Pio,
  reg,
  registers,
  resourceOption,
} from '../index.js';

const LAYOUT = layout({ width: 4, regs: { ctrl: reg(0, { access: 'rw', reset: 1, fields: { enable: bit(0) } }) } });
const BoxOptions = z.object({
  hz: z.number().int().positive().default(100).describe('tick rate, Hz'),
  mode: z.enum(['slow', 'fast']).default('slow'),
  path: z.string(),
  console: resourceOption<{ send(byte: number): void }>('console').optional(),
  disk: resourceOption<{ size: number }>('disk'),
});

@Device({ type: 'box', summary: 'a box', options: BoxOptions })
@Pio({ base: 0x80, size: 1 })
class Box {
  @Mmio() readonly regs = registers(LAYOUT, {});
  constructor(
    private readonly irq: IrqLine,
    private readonly options: Options<z.output<typeof BoxOptions>>,
  ) {}
  read() {
    return this.options.hz;
  }
  write() {
    this.irq.set(true);
  }
}

@Device({
  type: 'brittle',
  summary: 'opens things in its constructor',
  options: z.object({ disk: resourceOption('disk') }),
})
class Brittle {
  @Mmio({ base: 0 }) readonly regs = registers(LAYOUT, {});
  constructor(options: Options<{ disk: HostResource<{ size: number }> }>) {
    if (options.disk.size === 0) throw new Error('empty');
  }
}

describe('inspectDevice', () => {
  it('gives options, lines, regions and registers of a type that nobody placed', () => {
    const box = inspectDevice(Box);
    expect(box).toMatchObject({ type: 'box', summary: 'a box' });
    expect(box.options).toEqual([
      { name: 'hz', type: 'integer', required: false, default: 100, description: 'tick rate, Hz' },
      { name: 'mode', type: '"slow" | "fast"', required: false, default: 'slow' },
      { name: 'path', type: 'string', required: true },
      { name: 'console', type: 'console', required: false },
      { name: 'disk', type: 'disk', required: true },
    ]);
    expect(box.lines).toEqual([{ name: 'irq', default: undefined }]);
    expect(box.regions.map(({ name, space, base, size }) => ({ name, space, base, size }))).toEqual([
      { name: '', space: 'pio', base: 0x80, size: 1 },
      { name: 'regs', space: 'mmio', base: undefined, size: 4 },
    ]);
    expect(box.regions[1]?.registers).toMatchObject([{ name: 'ctrl', offset: 0, reset: 1, access: 'rw' }]);
    expect(box.problem).toBeUndefined();
  });

  it('says why the registers are unknown where the constructor needs what is not open', () => {
    const { regions, problem } = inspectDevice(Brittle);
    expect(regions).toMatchObject([{ name: 'regs', base: 0, registers: [] }]);
    expect(problem?.code).toBe('TL_DEVICE_CONSTRUCTOR');
  });

  it('refuses a class that is no device', () => {
    expect(() => inspectDevice(class Plain {})).toThrow('Plain is not decorated with @Device');
  });
});
