import { mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { constants, tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterEach, describe, expect, it, vi } from 'vitest';
import { INTERFACE_VERSION, type KvmFacts, loadNative } from './addon.js';
import { kvm } from './kvm.js';
import { explainKvm, kvmCapabilities } from './kvm-probe.js';

const scratch = mkdtempSync(join(tmpdir(), 'trapline-test-'));
const file = (name: string, text: string) => {
  const path = join(scratch, name);
  writeFileSync(path, text);
  return path;
};

afterEach(() => vi.unstubAllEnvs());
process.on('exit', () => rmSync(scratch, { recursive: true, force: true }));

describe('loading the addon', () => {
  it.each(['darwin', 'win32', 'freebsd'])('is not tried on %s', (platform) => {
    const load = loadNative({ platform });
    expect(load).toMatchObject({ addon: undefined, reason: expect.stringContaining(platform) });
  });

  it('says how to get one where none is built', () => {
    const load = loadNative({ platform: 'linux', path: join(scratch, 'none.node') });
    expect(load).toMatchObject({ addon: undefined, reason: 'the native addon is not built' });
    expect('fix' in load && load.fix).toMatch(/compiler|compile/);
  });

  it('says why one cannot be loaded, in one line', () => {
    const load = loadNative({ platform: 'linux', path: file('garbage.node', 'no addon') });
    expect(load.addon).toBeUndefined();
    expect('reason' in load && load.reason).toMatch(/^the native addon cannot be loaded: [^\n]+$/);
  });

  it('refuses one of another interface', () => {
    const path = file('old.cjs', 'exports.interfaceVersion = 0;');
    expect(loadNative({ platform: 'linux', path })).toMatchObject({
      addon: undefined,
      reason: `the native addon has interface 0, not ${INTERFACE_VERSION}`,
      fix: expect.stringContaining('build it again'),
    });
  });
});

describe('the KVM backend where there is none', () => {
  it('is there and says why it is not available', async () => {
    vi.stubEnv('TRAPLINE_PLATFORM', 'darwin');
    const provider = kvm();
    expect(provider.name).toBe('kvm');
    const probe = await provider.probe();
    expect(probe).toMatchObject({ available: false, reason: 'the native addon is for Linux, and this is darwin' });
    expect(probe.capabilities.maxVcpus).toBe(16);
    await expect(
      provider.open({ cpus: 1, memory: 2 ** 20, guest: undefined, log: undefined as never }),
    ).rejects.toMatchObject({ code: 'TL_BACKEND_UNAVAILABLE', who: 'kvm', fix: expect.stringContaining('another') });
  });
});

describe('what a look at /dev/kvm means', () => {
  const good: KvmFacts = { openError: 0, apiVersion: 12, missing: undefined, physicalBits: 46 };
  const explain = (facts: Partial<KvmFacts>) => explainKvm('/dev/kvm', { ...good, ...facts });

  it('nothing, if all is well', () => {
    expect(explain({})).toBeUndefined();
  });

  it.each([
    ['no device', { openError: constants.errno.ENOENT }, /there is no \/dev\/kvm/, /load kvm_intel or kvm_amd/],
    ['no permission', { openError: constants.errno.EACCES }, /no permission/, /usermod -aG kvm \$USER.*setfacl -m u:/],
    ['not permitted', { openError: constants.errno.EPERM }, /no permission/, /setfacl/],
    ['a busy CPU', { openError: constants.errno.EBUSY }, /cannot be opened: EBUSY/, /firmware/],
    ['another file', { apiVersion: -constants.errno.ENOTTY }, /is not KVM: ENOTTY/, /path/],
    ['an old API', { apiVersion: 11 }, /API version 11, not 12/, /kernel/],
    ['a lack', { missing: 'KVM_CAP_IRQCHIP' }, /lacks KVM_CAP_IRQCHIP/, /newer kernel/],
  ])('%s', (_what, facts, reason, fix) => {
    const problem = explain(facts);
    expect(problem?.reason).toMatch(reason);
    expect(problem?.fix).toMatch(fix);
    expect(problem?.reason).not.toContain('\n');
  });
});

describe('the windows in which accesses trap', () => {
  it('are all that is neither RAM nor inside the kernel', () => {
    expect(kvmCapabilities(36, 2 ** 27).mmioWindows).toEqual([
      [0x800_0000, 0xfebf_ffff],
      [0xfec0_1000, 0xfedf_ffff],
      [0xfee0_1000, 0xfffb_bfff],
      [0xfffc_0000, 0xffff_ffff],
      [0x1_0000_0000, 0xf_ffff_ffff],
    ]);
  });

  it('begin above the RAM above 4 GiB', () => {
    const { mmioWindows } = kvmCapabilities(52, 4 * 2 ** 30);
    expect(mmioWindows[0]).toEqual([3 * 2 ** 30, 0xfebf_ffff]);
    expect(mmioWindows.at(-1)).toEqual([5 * 2 ** 30, 2 ** 52 - 1]);
  });

  it('assume the most RAM where it is not known', () => {
    const known = kvmCapabilities(40, 6 * 2 ** 30).mmioWindows;
    expect(kvmCapabilities(40).mmioWindows).toEqual(known);
  });
});

const native = loadNative();

describe.skipIf(!native.addon)('addon: a look at real files', () => {
  it('finds no device', async () => {
    const probe = await kvm({ device: join(scratch, 'kvm') }).probe();
    expect(probe.available).toBe(false);
    expect(probe.reason).toBe(`there is no ${join(scratch, 'kvm')}`);
  });

  it('finds something else', async () => {
    const probe = await kvm({ device: '/dev/null' }).probe();
    expect(probe).toMatchObject({ available: false, reason: '/dev/null is not KVM: ENOTTY' });
  });

  it('opens nothing where it cannot', async () => {
    const config = { cpus: 1, memory: 2 ** 20, guest: undefined, log: undefined as never };
    await expect(kvm({ device: '/dev/null' }).open(config)).rejects.toMatchObject({ code: 'TL_BACKEND_UNAVAILABLE' });
  });

  it('passes errors of the addon on with errno and system call', () => {
    const options = { device: '/dev/null', memory: 4096, cpus: 1, entry: 0, waitSpinMicroseconds: 0 };
    expect(() => native.addon?.openKvm(options, () => undefined)).toThrow(
      expect.objectContaining({ errno: constants.errno.ENOTTY, syscall: 'KVM_CREATE_VM' }),
    );
    expect(() => native.addon?.openKvm({ ...options, memory: 1 }, () => undefined)).toThrow(/guest RAM/);
    expect(() => native.addon?.probeKvm(undefined as never)).toThrow(/string/i);
  });
});
