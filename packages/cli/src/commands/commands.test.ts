import { readFileSync } from 'node:fs';
import { describe, expect, it } from 'vitest';
import { BIN, execute, FIXTURES, machineText, project, trapline } from '../../test/cli.js';

describe('trapline', () => {
  it('says what there is, and its version', async () => {
    const help = await trapline(['--help']);
    expect(help).toMatchObject({ code: 0, stderr: '' });
    for (const name of ['run FILE', 'check FILE', 'map FILE', 'devices [TYPE]', 'new device NAME']) {
      expect(help.stdout).toContain(`  ${name} `);
    }
    const { version } = JSON.parse(readFileSync(new URL('../../package.json', import.meta.url), 'utf8')) as {
      version: string;
    };
    expect(await trapline(['--version'])).toMatchObject({ code: 0, stdout: `${version}\n` });
    expect(await trapline([])).toMatchObject({ code: 2, stdout: help.stdout });
  });

  it('explains one command', async () => {
    const { code, stdout } = await trapline(['run', '--help']);
    expect(code).toBe(0);
    expect(stdout).toMatch(/^Run a machine until its guest ends\.\n\nUsage: trapline run FILE \[options\]\n/);
    expect(stdout).toContain('--backend NAME');
  });
});

describe('a reader that went away', () => {
  it('is no error', async () => {
    const shell = `'${process.execPath}' '${BIN}' devices uart16550 | true; echo "$?"`;
    expect(await execute(['sh', '-c', shell])).toMatchObject({ code: 0, stdout: '0\n', stderr: '' });
  });
});

describe('trapline run', () => {
  it("says the backend and why, ends with the guest's code and with a table", async () => {
    const { code, stdout, stderr } = await trapline(['run', 'machine.ts']);
    expect(code).toBe(7);
    expect(stdout).toBe('');
    const [backend, unclaimed, empty, head, ...rows] = stderr.split('\n');
    expect(backend).toMatch(/^backend sim-js: it runs everywhere: the guest is a script \(passed over: kvm: /);
    expect(unclaimed).toBe('warn core: nobody claims the read of 1 at pio 0x99 by vCPU 0');
    expect(empty).toBe('');
    expect(head).toMatch(/^device +region +reads +writes +bytes read +written +mean +timed$/);
    expect(rows[0]).toMatch(/^exit +0 +1 +0 +1 +- +0$/);
    expect(rows[1]).toMatch(/^latch +regs +1 +200 +4 +800 +[\d.]+ us +3$/);
    expect(rows[2]).toMatch(/^\(unclaimed\) +1 +0$/);
  });

  it('times every access with --profile', async () => {
    const { stderr } = await trapline(['run', 'machine.ts', '--profile', '--backend', 'sim-js']);
    expect(stderr).toMatch(/^backend sim-js: it was asked for$/m);
    expect(stderr).toMatch(/^latch +regs +1 +200 +4 +800 +[\d.]+ us +201$/m);
  });

  it('gives the table as JSON', async () => {
    const { stderr } = await trapline(['run', 'machine.ts', '--json', '--profile']);
    const report = JSON.parse(stderr.trim().split('\n').at(-1) as string) as object;
    expect(report).toMatchObject({
      exit: { reason: 'exit', code: 7 },
      backend: 'sim-js',
      ranges: [
        { device: 'exit', space: 'pio', base: 0xf4, writes: 1, samples: 1 },
        { device: 'latch', region: 'regs', reads: 1, writes: 200, samples: 201, meanMicroseconds: expect.any(Number) },
      ],
      unclaimed: { reads: 1, writes: 0 },
    });
  });

  it('says nothing with --quiet', async () => {
    expect(await trapline(['run', 'machine.ts', '--quiet'])).toMatchObject({ code: 7, stdout: '', stderr: '' });
  });

  it('traces what matches', async () => {
    const { stderr } = await trapline(['run', 'machine.ts', '--trace', 'exit', '--trace', 'latch,read', '--quiet']);
    expect(stderr.trim().split('\n')).toEqual([
      'trace cpu0 latch.regs mmio read 0xd0000004 4 0x000000ca irq=1',
      'trace cpu0 exit pio write 0xf4 1 0x07',
    ]);
  });
});

describe('trapline check', () => {
  it('says ok', async () => {
    expect(await trapline(['check', 'machine.ts'])).toMatchObject({
      code: 0,
      stdout: 'ok: 2 devices, 2 ranges, 1 line\n',
      stderr: '',
    });
  });

  it('prints every problem', async () => {
    const cwd = project({
      'machine.ts': machineText(
        'a: use(Latch), b: use(Latch), c: use(Exit, { irq: 3 }), d: use(Exit), e: use(Exit), f: use(Latch, { stpe: 1, step: -1 } as never)',
      ),
    });
    const { code, stdout, stderr } = await trapline(['check', 'machine.ts'], { cwd });
    expect({ code, stdout }).toEqual({ code: 1, stdout: '' });
    expect(stderr.split('\n').filter((line) => line.startsWith('error'))).toEqual([
      'error[TL_IRQ] c: has no interrupt line irq',
      'error[TL_OPTION] f: option step: Too small: expected number to be >0',
      'error[TL_OPTION] f: unknown option stpe',
      'error[TL_RANGE_OVERLAP] b.regs: mmio 0xd0000000-0xd0000007 overlaps a.regs at mmio 0xd0000000-0xd0000007',
      'error[TL_RANGE_OVERLAP] f.regs: mmio 0xd0000000-0xd0000007 overlaps a.regs at mmio 0xd0000000-0xd0000007',
      'error[TL_RANGE_OVERLAP] f.regs: mmio 0xd0000000-0xd0000007 overlaps b.regs at mmio 0xd0000000-0xd0000007',
      'error[TL_RANGE_OVERLAP] d: pio 0xf4 overlaps c at pio 0xf4',
      'error[TL_RANGE_OVERLAP] e: pio 0xf4 overlaps c at pio 0xf4',
      'error[TL_RANGE_OVERLAP] e: pio 0xf4 overlaps d at pio 0xf4',
    ]);
    const json = JSON.parse((await trapline(['check', 'machine.ts', '--json'], { cwd })).stdout) as {
      problems: object[];
    };
    expect(json.problems).toHaveLength(9);
    expect(json.problems[2]).toEqual({
      code: 'TL_OPTION',
      who: 'f',
      what: 'unknown option stpe',
      fix: 'did you mean step? test-latch has: step, at, irq',
    });
  });

  it('opens nothing', async () => {
    const before = `import { hostResource, Options, resourceOption } from '@trapline/core';
import { z } from 'zod';
const schema = z.object({ disk: resourceOption('disk') });
@Device({ type: 'reader', summary: 'has a host resource', options: schema })
@Pio({ base: 0x100, size: 1 })
class Reader {
  constructor(readonly options: Options<z.output<typeof schema>>) {}
  read() { return 0; }
  write() {}
}
const disk = hostResource('disk()', () => { throw new Error('opened'); });`;
    const cwd = project({ 'machine.ts': machineText('r: use(Reader, { disk }), exit: use(Exit)', undefined, before) });
    expect(await trapline(['check', 'machine.ts'], { cwd })).toMatchObject({ code: 0, stderr: '' });
    expect(await trapline(['map', 'machine.ts'], { cwd })).toMatchObject({ code: 0, stderr: '' });
    const { code, stderr } = await trapline(['run', 'machine.ts', '--quiet'], { cwd });
    expect(code).toBe(1);
    expect(stderr).toMatch(/^error\[TL_HOST_RESOURCE\] r: disk: disk\(\) cannot be opened: opened\nfix: /);
  });
});

describe('trapline map', () => {
  it('prints an aligned table, and JSON', async () => {
    expect(await trapline(['map', 'machine.ts'])).toMatchObject({
      code: 0,
      stderr: '',
      stdout: [
        'space  addresses              bytes  device      type        irq',
        'pio    0xf4                       1  exit        test-exit',
        'mmio   0xd0000000-0xd0000007      8  latch.regs  test-latch  5',
        '',
      ].join('\n'),
    });
    const { stdout } = await trapline(['map', 'machine.ts', '--json']);
    expect(JSON.parse(stdout)).toEqual({
      map: [
        { space: 'pio', first: 0xf4, last: 0xf4, device: 'exit', region: '', type: 'test-exit' },
        { space: 'mmio', first: 0xd000_0000, last: 0xd000_0007, device: 'latch', region: 'regs', type: 'test-latch' },
      ],
      lines: [{ device: 'latch', name: 'irq', line: 5 }],
    });
  });
});

describe('trapline devices', () => {
  const plugin = ['--plugin', `${FIXTURES}/plugin.ts`];

  it('lists types with package and summary', async () => {
    const { code, stdout } = await trapline(['devices', ...plugin]);
    expect(code).toBe(0);
    expect(stdout).toMatch(/^type +package +summary\n/);
    expect(stdout).toMatch(/^test-exit +test-plugin +ends the machine with the byte written$/m);
    expect(stdout).toMatch(/^uart16550 +@trapline\/devices-uart +\S/m);
    expect(stdout).toMatch(/^debug-exit +@trapline\/devices-pc +\S/m);
  });

  it('tells all about one', async () => {
    expect(await trapline(['devices', 'test-latch', ...plugin])).toMatchObject({
      code: 0,
      stderr: '',
      stdout: `test-latch (test-plugin): adds to what is written

  option  type     default
  step    integer  2        added at each write

  line  default
  irq   5

  regs: mmio at 0xd0000000, 8 bytes
    offset  register  field   bits  access  reset
    0x0     ctrl              32    rw      0x1    control
                      enable  0                    lets it count
    0x4     value             32    rw      0x0
`,
    });
    const { stdout } = await trapline(['devices', 'test-latch', '--json', ...plugin]);
    expect(JSON.parse(stdout)).toMatchObject({
      type: 'test-latch',
      package: 'test-plugin',
      options: [{ name: 'step', type: 'integer', default: 2, required: false }],
      regions: [{ name: 'regs', registers: [{ name: 'ctrl' }, { name: 'value' }] }],
    });
  });

  it('suggests a type that is spelt like it', async () => {
    const { code, stderr } = await trapline(['devices', 'uart16650']);
    expect(code).toBe(2);
    expect(stderr).toMatch(
      /^error\[TL_USAGE\] trapline devices: there is no device type uart16650\nfix: did you mean uart16550\? /,
    );
  });
});
