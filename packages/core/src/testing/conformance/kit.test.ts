// The kit's own surface: what its settings do, and what a user sees of a finding.
import { afterEach, describe, expect, it, vi } from 'vitest';
import { Device, layout, Mmio, reg, registers, state, u32 } from '../../index.js';
import { ConformanceError, checkDevice, type Driven, describeDevice, type Finding } from '../index.js';
import { GoodDma, GoodTimer, GoodWaiting } from '../zoo/correct.js';

const LAYOUT = layout({ width: 4, regs: { data: reg(0, {}), count: reg(4, { access: 'ro' }) } });

/** Forgets its count in a snapshot, and keeps it over a reset. */
@Device({ type: 'forgetful', summary: 'counts where nobody looks' })
class Forgetful {
  @Mmio({ base: 0x1000 }) readonly regs = registers(LAYOUT, {
    data: { write: () => void this.count++ },
    count: { read: () => this.count },
  });
  readonly state = state({ spare: u32() });
  private count = 0;
  poke(): void {
    this.count++;
  }
}

/** Only the outside changes it. */
@Device({ type: 'poked', summary: 'counts pokes where nobody looks' })
class Poked {
  @Mmio({ base: 0x1000 }) readonly regs = registers(LAYOUT, { count: { read: () => this.pokes } });
  private pokes = 0;
  poke(): void {
    this.pokes++;
  }
}

const propertiesOf = (findings: readonly Finding[]) => findings.map(({ property }) => property);

describe('checkDevice', () => {
  it('tells property, message, steps and seed', () => {
    const [finding] = checkDevice(Forgetful, {}, { only: ['save-restore'], seed: 7 });
    expect(finding).toMatchObject({
      property: 'save-restore',
      title: 'a restored device goes on like the saved one',
      message: 'the value read: 0x0 after save and restore, 0x1 without',
      sequence: ['write regs data, 4 bytes: 0x0', 'save and restore', 'read regs count, 4 bytes'],
      seed: 7,
    });
  });

  it('looks at what it is asked to, and leaves out what is excepted', () => {
    expect(propertiesOf(checkDevice(Forgetful))).toEqual(['reset-state', 'save-restore']);
    expect(propertiesOf(checkDevice(Forgetful, {}, { except: { 'reset-state': 'known' } }))).toEqual(['save-restore']);
    expect(checkDevice(Forgetful, {}, { only: ['read-only'] })).toEqual([]);
  });

  it('finds the same again with the same seed', () => {
    expect(checkDevice(Forgetful, {}, { seed: 3 })).toEqual(checkDevice(Forgetful, {}, { seed: 3 }));
  });

  it('throws what makes a device impossible, and what its settings throw', () => {
    expect(() => checkDevice(GoodTimer, { hz: -1 })).toThrow(/option hz/);
    const arrange = () => {
      throw new Error('nothing to arrange');
    };
    expect(() => checkDevice(GoodDma, {}, { arrange })).toThrow(/nothing to arrange/);
  });

  it('prints settings a test cannot know as declarations, and given ones as given', () => {
    const events = { 'a poke': (t: Driven<typeof Forgetful>) => t.device.poke() };
    const settings = { events, arrange: () => {}, module: '../forgetful.js', optionsSource: '{}' };
    const [finding] = checkDevice(Forgetful, {}, { ...settings, only: ['out-of-range', 'reset-lines', 'reset-state'] });
    expect(finding?.test).toContain("import { Forgetful } from '../forgetful.js';");
    expect(finding?.test).toContain('declare const arrange: (t: Driven<typeof Forgetful>) => void;');
    expect(finding?.test).toContain('arrange(used);');
    expect(finding?.test).toContain('drive(Forgetful, {})');
    const poked = checkDevice(Poked, {}, { events: { 'a poke': (t) => t.device.poke() } });
    expect(poked.map(({ sequence }) => sequence[0])).toEqual(['a poke', 'a poke']);
    expect(poked[0]?.test).toContain('declare const events: Record<string, (t: Driven<typeof Poked>) => void>;');
    expect(poked[0]?.test).toContain("events['a poke']?.(used);");
  });
});

describe('describeDevice', () => {
  type Registered = { readonly name: string; readonly run?: () => void };
  const registered: Registered[] = [];
  function stub(): void {
    registered.length = 0;
    const it = (name: string, run: () => void) => void registered.push({ name, run });
    it.skip = (name: string) => void registered.push({ name });
    vi.stubGlobal('it', it);
    vi.stubGlobal('describe', (_name: string, body: () => void) => body());
  }
  afterEach(() => vi.unstubAllGlobals());

  it('registers a test for each property that means something to the device', () => {
    stub();
    describeDevice(GoodTimer);
    expect(registered.map(({ name }) => name)).toContain('no access makes the device fail');
    expect(registered.map(({ name }) => name)).not.toContain('a handler ignores offsets that are not its own');
    expect(registered.length).toBeGreaterThan(10);
  });

  it('fails with the test to paste', () => {
    stub();
    describeDevice(Forgetful, {}, { only: ['reset-state'] });
    const failing = registered[0]?.run as () => void;
    expect(failing).toThrow(ConformanceError);
    expect(failing).toThrow(/1\. write regs data.*2\. reset.*3\. read regs count.*The same as a test.*import/s);
  });

  it('says what it leaves out, and why', () => {
    stub();
    describeDevice(GoodWaiting, {}, { except: { straddles: 'a bug upstream' } });
    const skipped = registered.filter(({ run }) => run === undefined).map(({ name }) => name);
    expect(skipped).toEqual([
      'slow waits (defer: true): its accesses are not checked',
      'an access that leaves its region touches nothing (excepted: a bug upstream)',
    ]);
  });

  it('fails as one test if the device cannot be put into a machine', () => {
    stub();
    describeDevice(GoodTimer, { hz: -1 });
    expect(registered.map(({ name }) => name)).toEqual(['can be put into a machine']);
    expect(registered[0]?.run).toThrow(/option hz/);
  });
});
