// Compiles guest, firmware and bare loop: they are a few lines each, and no binary needs to be kept.
import { spawnSync } from 'node:child_process';
import { mkdtempSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { fileURLToPath } from 'node:url';

/** How much the guest does. */
export interface Amount {
  /** Reads of each register before time is taken. */
  readonly warm: number;
  /** Reads of each register whose time is taken: at most 3,000,000, which fill the guest's memory. */
  readonly count: number;
}

/** Files of one build. */
export interface Built extends Amount {
  /** The guest, to be loaded and entered at 0x1000. */
  readonly guest: string;
  /** The guest as firmware, 64 KiB. */
  readonly rom: string;
  /** The bare loop. */
  readonly bare: string;
  /** Removes them. */
  remove(): void;
}

const compiler = process.env.CC ?? 'cc';

/** Is there a C compiler? */
export function canBuild(): boolean {
  return spawnSync(compiler, ['--version']).status === 0;
}

/** @throws Error with what the compiler says */
export function build({ warm, count }: Amount): Built {
  const folder = mkdtempSync(join(tmpdir(), 'trapline-bench-'));
  const source = (name: string) => fileURLToPath(new URL(name, import.meta.url));
  const compile = (...args: string[]) => {
    const { status, error, stderr } = spawnSync(compiler, args, { cwd: folder, encoding: 'utf8' });
    if (status !== 0) throw new Error(`${compiler} ${args.join(' ')}: ${error?.message ?? stderr}`);
  };
  const flat = (address: string) => [
    ...['-m32', '-nostdlib', '-static', '-Wl,--oformat=binary,-N,-e,start,--build-id=none'],
    `-Wl,-Ttext=${address}`,
  ];
  const remove = () => rmSync(folder, { recursive: true });
  try {
    compile(...flat('0x1000'), `-DWARM=${warm}`, `-DCOUNT=${count}`, '-o', 'guest.bin', source('guest.S'));
    compile(...flat('0'), '-o', 'rom.bin', source('rom.S'));
    compile('-O2', '-Wall', '-Wextra', '-o', 'bare', source('bare.c'));
  } catch (thrown) {
    remove();
    throw thrown;
  }
  const file = (name: string) => join(folder, name);
  return { warm, count, guest: file('guest.bin'), rom: file('rom.bin'), bare: file('bare'), remove };
}
