import { spawnSync } from 'node:child_process';
import { fileURLToPath } from 'node:url';
import { describe, expect, it } from 'vitest';
import { kvm } from './kvm.js';

const { available } = await kvm().probe();
const script = fileURLToPath(new URL('./testing/process.mjs', import.meta.url));

/** Runs `process.mjs` to its end, which must come by itself. */
function run(how: string) {
  const { status, signal, stdout, stderr } = spawnSync(process.execPath, [script, how], {
    encoding: 'utf8',
    timeout: 20_000,
  });
  return { status, signal, stdout: stdout.trim(), stderr };
}

const clean = { status: 0, signal: null, stderr: '' };

describe.skipIf(!available)('kvm: a process or a thread ends', () => {
  it('by process.exit with running guests', () => {
    expect(run('exit')).toEqual({ ...clean, status: 7, stdout: '' });
  });

  it('by itself after close, and not before', () => {
    expect(run('close')).toEqual({ ...clean, stdout: 'still alive' });
  });

  it('by itself once the guest has ended', () => {
    expect(run('ended')).toEqual({ ...clean, stdout: '' });
  });

  it('by an exception out of a wake-up', () => {
    expect(run('throws')).toEqual({ ...clean, status: 3, stdout: 'caught on purpose' });
  });

  it('by worker.terminate with running guests', () => {
    expect(run('terminate')).toEqual({ ...clean, stdout: 'terminated' });
  });

  it('and a closed machine leaves no memory behind', () => {
    expect(run('forget')).toEqual({ ...clean, stdout: '0 left' });
  });

  it('and memory that was transferred outlives its machine', () => {
    expect(run('transfer')).toEqual({ ...clean, stdout: 'survived' });
  });

  it('by process.exit in a worker, also right after close', () => {
    expect(run('leave')).toEqual({ ...clean, stdout: 'left' });
  });
});
