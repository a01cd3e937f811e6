// A machine file runs as it is: decorator metadata and all, whatever the project around it says.
import { describe, expect, it } from 'vitest';
import { execute, project, trapline } from '../test/cli.js';

const DEVICE = `import { Clock, Device, IrqLine, MachineControl, Options, Pio } from '@trapline/core';
import { z } from 'zod';
import { type Shape, Kind } from './kinds.js';

const schema = z.object({ code: z.number() });

@Device({ type: 'probe', summary: 'ends the machine', irq: 3, options: schema })
@Pio({ base: 0x10, size: 1 })
export class Probe {
  seen: Shape[] = [];
  constructor(
    private readonly irq: IrqLine,
    private readonly machine: MachineControl,
    private readonly clock: Clock,
    private readonly options: Options<z.output<typeof schema>>,
  ) {}
  read() {
    return Kind.Small;
  }
  write() {
    this.irq.set(this.clock.now() >= 0);
    this.machine.exit(this.options.code);
  }
}
`;
const MACHINE = `import { defineMachine, use } from '@trapline/core';
import { Probe } from './lib/probe';

export default defineMachine({
  memory: '1M',
  devices: { probe: use(Probe, { code: 5 }) },
  guest: {
    kind: 'script',
    script: async (cpu) => {
      await using resource = { async [Symbol.asyncDispose]() { console.log('disposed'); } };
      if (resource && cpu.read('pio', 0x10, 1) === 7) cpu.write('pio', 0x10, 1, 0);
    },
  },
});
`;
const KINDS = 'export enum Kind { Small = 7 }\nexport interface Shape { readonly kind: Kind }\n';
const FILES = { 'm.ts': MACHINE, 'lib/probe.ts': DEVICE, 'lib/kinds.ts': KINDS };

describe('TypeScript with decorator metadata', () => {
  it.each([
    ['with nothing around it', {}],
    ['in a package of CommonJS', { 'package.json': { name: 'old', type: 'commonjs' } }],
    [
      'beside a tsconfig that forbids what it needs',
      {
        'tsconfig.json': {
          compilerOptions: {
            target: 'es5',
            experimentalDecorators: false,
            emitDecoratorMetadata: false,
            module: 'commonjs',
          },
        },
      },
    ],
    ['beside a tsconfig that is broken', { 'tsconfig.json': '{' }],
  ])('%s', async (_name, around) => {
    const cwd = project({ ...FILES, ...around });
    expect(await trapline(['run', 'm.ts', '--quiet'], { cwd })).toMatchObject({
      code: 5,
      stdout: 'disposed\n',
      stderr: '',
    });
  });

  it('in JavaScript, too', async () => {
    const script = "(cpu) => cpu.write('pio', 0x10, 1, 0)";
    const text = `import { defineMachine, use } from '@trapline/core';
import { Probe } from './lib/probe.ts';
export default defineMachine({ memory: '1M', devices: { p: use(Probe, { code: 6 }) }, guest: { kind: 'script', script: ${script} } });`;
    const cwd = project({ ...FILES, 'm.mjs': text });
    expect(await trapline(['run', 'm.mjs', '--quiet'], { cwd })).toMatchObject({ code: 6, stderr: '' });
  });
});

describe('the library trapline', () => {
  it('starts a machine from code and knows every backend; importing it opens nothing', async () => {
    const cwd = project({
      ...FILES,
      'main.ts': `import { knownBackends, start } from 'trapline';
import machine from './m.js';
console.log(knownBackends().map(({ name }) => name).join(' '));
await using vm = await start(machine, { backend: 'sim-js' });
console.log((await vm.wait()).code);`,
      'main.mjs': `import { registerTypeScript } from '${new URL('../bin/register.mjs', import.meta.url).href}';
registerTypeScript({ sources: true });
await import('./main.ts');`,
    });
    expect(await execute([process.execPath, 'main.mjs'], { cwd })).toMatchObject({
      code: 0,
      stdout: 'kvm sim sim-js\ndisposed\n5\n',
      stderr: '',
    });
  });
});
