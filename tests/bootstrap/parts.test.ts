import { mkdirSync, mkdtempSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterAll, afterEach, describe, expect, it, vi } from 'vitest';
import { holds } from '../../scripts/lib/conditions.mjs';
import { diagnose } from '../../scripts/lib/diagnose.mjs';
import { takeLock } from '../../scripts/lib/lock.mjs';
import { nodeVersionProblem } from '../../scripts/lib/node-version.mjs';
import { Progress, progressStyle } from '../../scripts/lib/progress.mjs';
import { runLogged } from '../../scripts/lib/run-logged.mjs';
import { allowedSkips, judgeSkips } from '../../scripts/lib/skips.mjs';
import { hashOf, readStamp, writeStamp } from '../../scripts/lib/stamp.mjs';

const folder = mkdtempSync(join(tmpdir(), 'trapline-'));
afterAll(() => rmSync(folder, { recursive: true, force: true }));

describe('progress', () => {
  afterEach(() => {
    vi.useRealTimers();
  });

  const on = (isTTY: boolean, columns = 80) => {
    const output = { isTTY, columns, text: '', write: (text: string) => (output.text += text) };
    return output;
  };

  it.each([
    [true, {}, { live: true, color: true }],
    [true, { NO_COLOR: '1' }, { live: true, color: false }],
    [true, { NO_COLOR: '' }, { live: true, color: true }],
    [true, { CI: 'true' }, { live: false, color: false }],
    [true, { CI: 'false' }, { live: true, color: true }],
    [true, { TERM: 'dumb' }, { live: false, color: false }],
    [false, {}, { live: false, color: false }],
  ])('on a terminal: %s, with %j: %j', (isTTY, env, style) => {
    expect(progressStyle(on(isTTY), env)).toEqual(style);
  });

  it('is a line per step without a terminal', () => {
    const output = on(false);
    const progress = new Progress(output, {});
    progress.step('one');
    progress.detail('not shown');
    progress.step('two');
    progress.note('a note');
    progress.end('the end');
    expect(output.text).toBe('set-up: one\nset-up: two\na note\nthe end\n');
  });

  it('is one line on a terminal, rewritten in place and erased at the end', () => {
    vi.useFakeTimers();
    const output = on(true);
    const progress = new Progress(output, { NO_COLOR: '1' });
    progress.step('one');
    progress.detail('half done');
    vi.advanceTimersByTime(1000);
    progress.end();
    const lines = output.text.split('\r\u001b[2K');
    expect(lines[1]).toBe('| set-up: one 0.0 s');
    expect(lines).toContain('- set-up: one 1.0 s (half done)');
    expect(lines.at(-1)).toBe('');
    expect(output.text).not.toContain('\n');
  });

  it('keeps the live line shorter than the terminal, whose wrapped lines nothing erases', () => {
    const output = on(true, 30);
    const progress = new Progress(output, { NO_COLOR: '1' });
    progress.step('a'.repeat(100));
    progress.end();
    expect(Math.max(...output.text.split('\r\u001b[2K').map((line) => line.length))).toBe(29);
  });

  it('colours the live line only', () => {
    const output = on(true);
    const progress = new Progress(output, {});
    progress.step('one');
    progress.note('plain');
    progress.end();
    expect(output.text).toContain('\u001b[36m| set-up: one 0.0 s\u001b[39m');
    expect(output.text).toContain('\r\u001b[2Kplain\n');
  });
});

describe('a program with a log', () => {
  it('is ended when it says nothing for long', async () => {
    const log = join(folder, 'silent.log');
    const command = [process.execPath, '-e', 'setInterval(() => {}, 1000)'];
    const result = await runLogged(command, { cwd: folder, env: process.env, log, silenceMs: 300 });
    expect(result.code).not.toBe(0);
    expect(result.output).toBe('no output for 0.3 s: ended\n');
    expect(readFileSync(log, 'utf8')).toContain(result.output);
  });
});

describe('a lock', () => {
  it('has one owner at a time, and tells the second whom it waits for', async () => {
    const path = join(folder, 'lock');
    const free = await takeLock(path);
    const onWait = vi.fn(() => free());
    const second = await takeLock(path, { onWait, pollMs: 1 });
    expect(onWait).toHaveBeenCalledExactlyOnceWith(process.pid);
    second();
  });

  it('is taken over from an owner that is gone', async () => {
    const path = join(folder, 'stale');
    mkdirSync(path);
    // No process has an id this high.
    writeFileSync(join(path, 'pid'), '99999999');
    const onWait = vi.fn();
    const free = await takeLock(path, { onWait });
    expect(onWait).not.toHaveBeenCalled();
    free();
  });
});

describe('a stamp', () => {
  it('depends on content, names and words, and on what is missing', () => {
    const a = join(folder, 'a');
    writeFileSync(a, '1');
    const hash = hashOf([a], ['x']);
    expect(hashOf([a], ['x'])).toBe(hash);
    expect(hashOf([a], ['y'])).not.toBe(hash);
    expect(hashOf([a, join(folder, 'missing')], ['x'])).not.toBe(hash);
    writeFileSync(a, '2');
    expect(hashOf([a], ['x'])).not.toBe(hash);
  });

  it('carries a notice', () => {
    const path = join(folder, 'deep', 'x.stamp');
    expect(readStamp(path)).toBeUndefined();
    writeStamp(path, 'abc', 'a notice');
    expect(readStamp(path)).toEqual({ hash: 'abc', notice: 'a notice' });
    writeStamp(path, 'abc');
    expect(readStamp(path)).toEqual({ hash: 'abc', notice: '' });
  });
});

describe('a diagnosis', () => {
  it.each([
    ['npm error code EAI_AGAIN', /cannot be reached/, /network once/],
    [
      "npm error code EROFS\nnpm error EROFS: read-only, mkdir '/home/x/.npm/_cacache'",
      /cache folder/,
      /npm_config_cache=/,
    ],
    ['EACCES: permission denied, mkdir node_modules', /a folder cannot be written/, /writable/],
    [' ERR_PNPM_OUTDATED_LOCKFILE  Cannot install', /does not match/, /npx --yes pnpm@1\.2\.3 install/],
    ['npm error code SELF_SIGNED_CERT_IN_CHAIN', /certificate/, /NODE_EXTRA_CA_CERTS/],
    ['npm error code E401', /refused access/, /\.npmrc/],
    ['ENOSPC: no space left on device', /disk is full/, /free/],
    ['something new', /ended with an error/, /read the log/],
  ])('%s', (output, reason, fix) => {
    const found = diagnose(output, 'pnpm@1.2.3');
    expect(found.reason).toMatch(reason);
    expect(found.fix).toMatch(fix);
  });
});

describe('the version of Node', () => {
  it.each(['20.19.0', '20.20.2', '22.12.0', '23.0.0', '24.21.0'])('%s will do', (version) => {
    expect(nodeVersionProblem(version)).toBeUndefined();
  });
  it.each(['12.22.0', '18.20.8', '20.18.3', '21.7.3', '22.11.0'])('%s is too old', (version) => {
    expect(nodeVersionProblem(version)).toMatch(`this is Node ${version}; Trapline needs 20.19 or newer`);
  });
});

describe('skipped tests', () => {
  const list = [{ test: '^tests/kvm/.* > boots', reason: 'needs KVM', when: 'no-kvm' }];

  it('are allowed by the list, while the condition holds', () => {
    const skipped = ['tests/kvm/a.test.ts > a > boots', 'tests/kvm/b.test.ts > b > boots twice'];
    expect(judgeSkips(skipped, list, () => true)).toEqual({ reasons: new Map([['needs KVM', 2]]), refused: [] });
  });

  it('are refused by name otherwise', () => {
    const [boots, other] = ['tests/kvm/a.test.ts > a > boots', 'tests/kvm/a.test.ts > a > halts'] as const;
    expect(judgeSkips([boots, other], list, () => false).refused).toEqual([
      { name: boots, why: 'its condition "no-kvm" does not hold here' },
      { name: other, why: 'it is not in scripts/allowed-skips.json' },
    ]);
  });

  it('have conditions that can be told, alone or as alternatives', () => {
    expect(holds('always')).toBe(true);
    expect(holds('no-command:node-that-nobody-has')).toBe(true);
    expect(holds('no-file:package.json')).toBe(false);
    expect(holds('no-file:package.json or always')).toBe(true);
    expect(() => holds('sunday')).toThrow('unknown condition "sunday"');
  });

  it('have reasons and known conditions in the checked-in list', () => {
    for (const entry of allowedSkips()) {
      expect(entry.reason.length, entry.test).toBeGreaterThan(10);
      expect(() => holds(entry.when)).not.toThrow();
      expect(() => new RegExp(entry.test)).not.toThrow();
    }
  });
});
