import 'reflect-metadata';
import { describe, expect, it } from 'vitest';
import { boot } from '../../test/machine.js';
import { Device, Irq, Pio } from '../device/decorators.js';
import type { DeviceClass } from '../device/metadata.js';
import { Clock, IrqLine, Log } from '../device/tokens.js';
import { CompositionError, type TraplineError } from '../errors.js';
import { defineMachine, use } from './define.js';
import { planMachine } from './plan.js';

class Base {
  read() {
    return 0;
  }
  write() {}
}

/** A device class whose constructor parameters have the given metadata. */
function device(types: unknown[] | undefined, make: () => DeviceClass): DeviceClass {
  const made = make();
  if (types) Reflect.defineMetadata('design:paramtypes', types, made);
  Device({ type: 'odd', summary: '' })(made);
  Pio({ base: 0x10, size: 1 })(made as DeviceClass<Base>);
  return made;
}
function problemsOf(made: DeviceClass): TraplineError[] {
  const problems: TraplineError[] = [];
  planMachine(defineMachine({ memory: '4K', devices: { dev: use(made, { irq: 1 } as object) } }), problems);
  return problems.filter(({ code }) => code === 'TL_INJECT');
}
const oneParameter = () =>
  class Odd extends Base {
    constructor(readonly thing: unknown) {
      super();
    }
  };

describe('injection', () => {
  it.each<[string, unknown, RegExp]>([
    [
      'an interface or an `import type`',
      Object,
      /parameter 1 \(thing\) of Odd cannot be injected: its type was erased/,
    ],
    ['an erased function type', Function, /was erased/],
    ['a circular import', undefined, /unknown at run time/],
    ['a string', String, /take it from Options/],
    ['a promise', Promise, /take it from Options/],
    ['the token of another copy of core', class Clock {}, /Clock of another copy of @trapline\/core/],
    [
      'a class nobody provides',
      class Database {
        constructor(readonly url: string) {
          void url;
        }
      },
      /nothing provides a Database/,
    ],
  ])('refuses %s, naming class, parameter and cause', (_what, type, message) => {
    const [problem, ...more] = problemsOf(device([type], oneParameter));
    expect(problem?.message).toMatch(message);
    expect(problem).toMatchObject({ who: 'dev', details: { class: 'Odd', parameter: 'thing' } });
    expect(more).toEqual([]);
  });

  it('says that no metadata was emitted', () => {
    const [problem] = problemsOf(device(undefined, oneParameter));
    expect(problem?.message).toMatch(/1 parameters, but no decorator metadata/);
    expect(problem?.fix).toMatch(/static inject/);
  });

  it('takes static inject where there is no metadata', () => {
    const made = device(
      undefined,
      () =>
        class Listed extends Base {
          static inject = [Clock, Log] as const;
          constructor(
            readonly clock: Clock,
            readonly log: Log,
          ) {
            super();
          }
          override read() {
            return this.clock.now() === 7 ? 1 : 2;
          }
        } as unknown as DeviceClass,
    );
    const { clock, inb } = boot({ dev: use(made) });
    clock.advance(7);
    expect(inb(0x10)).toBe(1);
  });

  it('gives each instance its own child: options, lines and log are not shared', () => {
    @Device({ type: 'own', summary: '', irq: 3 })
    @Pio({ size: 1 })
    class Own extends Base {
      constructor(
        readonly irq: IrqLine,
        @Irq('b', { default: 4 }) readonly second: IrqLine,
        readonly log: Log,
      ) {
        super();
      }
    }
    const at = (base: number) => ({ kind: 'pio' as const, base });
    const { vm, log, cpu } = boot({ a: use(Own, { at: at(1) }), b: use(Own, { at: at(2), irq: { b: 5 } }) });
    vm.devices.b.second.set(true);
    expect([cpu.line(3), cpu.line(4), cpu.line(5)]).toEqual([false, false, true]);
    vm.devices.a.log.info('hello');
    expect(log.at(-1)?.who).toBe('a');
    expect(vm.devices.a.irq).not.toBe(vm.devices.b.irq);
  });

  it('gives two instances of one class two helpers of their own', () => {
    class Helper {
      count = 0;
    }
    @Device({ type: 'helped', summary: '' })
    @Pio({ size: 1 })
    class Helped extends Base {
      constructor(readonly helper: Helper) {
        super();
      }
    }
    const { vm } = boot({
      a: use(Helped, { at: { kind: 'pio', base: 1 } }),
      b: use(Helped, { at: { kind: 'pio', base: 2 } }),
    });
    expect(vm.devices.a.helper).toBeInstanceOf(Helper);
    expect(vm.devices.a.helper).not.toBe(vm.devices.b.helper);
  });

  it('names every parameter that is wrong, at once', () => {
    const made = device(
      [Object, Clock, String],
      () =>
        class Many extends Base {
          constructor(
            readonly one: unknown,
            readonly two: Clock,
            readonly three: string,
          ) {
            super();
          }
        } as unknown as DeviceClass,
    );
    expect(problemsOf(made).map(({ details }) => details.parameter)).toEqual(['one', 'three']);
    expect(() => boot({ dev: use(made) })).toThrow(CompositionError);
  });
});

describe('a device of another copy of core', () => {
  it('is refused with both paths', () => {
    const made = device([], () => class Foreign extends Base {});
    const key = Symbol.for('trapline.device');
    const metadata = (made as unknown as Record<symbol, object>)[key];
    Object.defineProperty(made, key, { value: { ...metadata, core: 'file:///elsewhere/core/index.js' } });
    const problems: TraplineError[] = [];
    planMachine(defineMachine({ memory: '4K', devices: { dev: use(made) } }), problems);
    expect(problems[0]).toMatchObject({ code: 'TL_DUPLICATE_CORE', who: 'dev' });
    expect(problems[0]?.message).toMatch(/file:\/\/\/elsewhere.*this machine to the one at .*metadata/);
  });
});
