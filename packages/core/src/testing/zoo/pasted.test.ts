// From the device to the pasted test and back: what the kit prints is compiled and run as a user
// would, with the faults in place and without them.
import { execFile } from 'node:child_process';
import { mkdirSync, mkdtempSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { createRequire } from 'node:module';
import { join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { promisify } from 'node:util';
import { afterAll, expect, it } from 'vitest';
import type { DeviceClass } from '../../index.js';
import { checkDevice } from '../index.js';

const CORE = fileURLToPath(new URL('../../../', import.meta.url));
mkdirSync(join(CORE, 'build'), { recursive: true });
const folder = mkdtempSync(join(CORE, 'build', 'pasted-'));
afterAll(() => rmSync(folder, { recursive: true, force: true }));

/** A device with several faults at once, all of which go when FAULTY does. */
const kitchen = (faulty: boolean) => `
import { z } from 'zod';
import {
  array, bit, bits, bytes, Device, GuestMemory, type IoHandler, IrqLine, layout, Mmio, Msi, Options, Pio, reg,
  registers, state, u32, u8,
} from '@trapline/core';

const FAULTY: boolean = ${faulty};
const LAYOUT = layout({
  width: 4,
  regs: {
    ctrl: reg(0x0, { fields: { enable: bit(0), sticky: bit(1) } }),
    slots: array(2, 4, reg(0x4, {})),
    'odd-name': reg(0xc, { access: 'ro' }),
    start: reg(0x10, { access: 'wo' }),
    level: reg(0x14, { fields: { level: bits(7, 0), top: bits(15, 8, { access: 'reserved' }) } }),
  },
});
const KitchenOptions = z.object({ hz: z.number().default(1), label: z.string().default('') });

@Device({ type: 'kitchen', summary: 'wrong in every way', options: KitchenOptions })
export class Kitchen {
  @Mmio({ base: 0xd000_0000 }) readonly regs = registers(LAYOUT, {
    ctrl: { write: () => this.keep() },
    slots: { write: (value, _old, slot) => this.fill(value, slot) },
    'odd-name': { read: () => this.next(), peek: () => (FAULTY ? this.next() : this.state.given) },
    start: { write: () => this.go() },
    level: { read: (): number => (this.regs.slots[0]?.value ?? 0) & (FAULTY ? 0xfff : 0xff) },
  });
  @Pio({ base: 0x300, size: 4, impl: { max: 1 } }) readonly ports: IoHandler = {
    read: (offset) => this.state.data[offset & 3] ?? 0,
    write: (offset, _size, value) => {
      if (FAULTY || offset < 4) this.state.data[offset & 3] = value;
    },
  };
  readonly state = state({ data: bytes(4), given: u8(), filled: u32() });
  private kept = false;
  private filled = 0;

  constructor(
    private readonly irq: IrqLine,
    private readonly msi: Msi,
    private readonly memory: GuestMemory,
    readonly options: Options<z.output<typeof KitchenOptions>>,
  ) {}

  onReset(): void {
    this.filled = 0;
    if (!FAULTY) this.kept = false;
    this.regs.ctrl.sticky = this.kept;
    this.irq.set(this.kept);
  }
  private keep(): void {
    this.kept = this.regs.ctrl.sticky;
    this.irq.set(this.kept);
  }
  private fill(value: number, slot: number): void {
    this.filled = (this.filled + value + slot) >>> 0;
    this.state.filled = this.filled;
    if (!FAULTY) this.filled = this.state.filled;
  }
  private next(): number {
    this.state.given++;
    return this.state.given;
  }
  private go(): void {
    const sum = FAULTY ? this.filled : this.state.filled;
    this.memory.writeU32(0x100, sum);
    this.msi.send(0xfee0_0000, sum);
  }
  onRestored(): void {
    if (!FAULTY) {
      this.filled = this.state.filled;
      this.kept = this.regs.ctrl.sticky;
    }
  }
}
`;

it('what the kit prints compiles, fails with the fault and passes without', async () => {
  const file = join(folder, 'kitchen.ts');
  writeFileSync(file, kitchen(true));
  const { Kitchen } = (await import(/* @vite-ignore */ file)) as { readonly Kitchen: DeviceClass };
  const findings = checkDevice(Kitchen, { hz: 10, label: "cook's" } as object);
  const found = findings.map(({ property }) => property);
  const wanted = ['reset-state', 'reset-lines', 'save-restore', 'fixed-bits', 'out-of-range', 'peek-effect'] as const;
  expect(found).toEqual(expect.arrayContaining([...wanted]));
  for (const { property, test } of findings) writeFileSync(join(folder, `${property}.test.ts`), test);

  expect(findings.find(({ property }) => property === 'reset-state')?.test).toContain("{ hz: 10, label: 'cook\\'s' }");
  expect(await compile()).toBe('');
  const broken = await runTests();
  expect(broken.numFailedTests).toBe(findings.length);
  writeFileSync(file, kitchen(false));
  const mended = await runTests();
  expect([mended.numFailedTests, mended.numPassedTests]).toEqual([0, findings.length]);
}, 180_000);

const require = createRequire(import.meta.url);
const run = promisify(execFile);

/** Type-checks the folder as a user's project would be. @returns what tsc has to say */
async function compile(): Promise<string> {
  const config = {
    extends: join(CORE, 'tsconfig.device.json'),
    compilerOptions: { noEmit: true, types: ['node'], customConditions: ['trapline-src'] },
    include: ['*.ts'],
    exclude: ['vitest.config.ts'],
  };
  writeFileSync(join(folder, 'tsconfig.json'), JSON.stringify(config));
  const tsc = require.resolve('typescript/bin/tsc');
  return run(process.execPath, [tsc, '-p', folder]).then(
    () => '',
    (failed: { readonly stdout: string }) => failed.stdout,
  );
}

interface Outcome {
  readonly numFailedTests: number;
  readonly numPassedTests: number;
}

/** Runs the folder's tests with core's own preset. */
async function runTests(): Promise<Outcome> {
  const conditions = JSON.stringify(['trapline-src', 'module', 'node', 'development|production']);
  const source = (path: string) => JSON.stringify(join(CORE, 'src', path));
  writeFileSync(
    join(folder, 'vitest.config.ts'),
    `import { defineTraplineConfig } from ${source('vitest-preset.ts')};
export default defineTraplineConfig({
  resolve: {
    conditions: ${conditions},
    alias: [
      { find: /^@trapline\\/core$/, replacement: ${source('index.ts')} },
      { find: /^@trapline\\/core\\/testing$/, replacement: ${source('testing/index.ts')} },
    ],
  },
  ssr: { resolve: { conditions: ${conditions} } },
});
`,
  );
  const vitest = join(require.resolve('vitest/package.json'), '..', 'vitest.mjs');
  const output = join(folder, 'outcome.json');
  const options = ['--root', folder, '--reporter', 'json', '--outputFile', output];
  // Failing tests are an exit code, and here half of what is wanted.
  await run(process.execPath, [vitest, 'run', ...options], { cwd: folder }).catch(() => {});
  return JSON.parse(readFileSync(output, 'utf8')) as Outcome;
}
