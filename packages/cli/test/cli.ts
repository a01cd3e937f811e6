// Runs the real command as a child process.
import { type ChildProcess, spawn } from 'node:child_process';
import { mkdirSync, mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { dirname, join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { onTestFinished, vi } from 'vitest';

// Whole processes are started here, several in one test, and a busy machine is slow at that.
vi.setConfig({ testTimeout: 30_000 });

/** The command's file. */
export const BIN: string = fileURLToPath(new URL('../bin/trapline.mjs', import.meta.url));
/** Devices and a machine for tests. */
export const FIXTURES: string = fileURLToPath(new URL('fixtures', import.meta.url));

/** What a finished command left. */
export interface Finished {
  readonly code: number | null;
  readonly signal: NodeJS.Signals | null;
  readonly stdout: string;
  readonly stderr: string;
  /** First line of stderr. */
  readonly first: string;
}

/** How a command is run. */
export interface RunOptions {
  readonly cwd?: string;
  /** Written to standard input, which then ends; without it, standard input is empty. */
  readonly input?: string;
  /** Standard input stays open and silent. */
  readonly keepOpen?: boolean;
  /** Called with the child as soon as its output contains this. */
  readonly when?: readonly [text: string, act: (child: ChildProcess) => void];
  /** Words before node's: a program that runs the rest. */
  readonly prefix?: readonly string[];
}

/** `trapline ARGS` */
export function trapline(args: readonly string[], options: RunOptions = {}): Promise<Finished> {
  return execute([...(options.prefix ?? []), process.execPath, BIN, ...args], options);
}

/** Any program. */
export function execute([program, ...args]: readonly string[], options: RunOptions = {}): Promise<Finished> {
  const child = spawn(program as string, args, { cwd: options.cwd ?? FIXTURES, stdio: 'pipe' });
  onTestFinished(() => void child.kill('SIGKILL'));
  child.stdin.on('error', () => {});
  if (options.input !== undefined) child.stdin.write(options.input);
  if (!options.keepOpen) child.stdin.end();
  let stdout = '';
  let stderr = '';
  let { when } = options;
  const look = () => {
    if (!when || !(stdout + stderr).includes(when[0])) return;
    const [, act] = when;
    when = undefined;
    act(child);
  };
  child.stdout.setEncoding('utf8').on('data', (text: string) => {
    stdout += text;
    look();
  });
  child.stderr.setEncoding('utf8').on('data', (text: string) => {
    stderr += text;
    look();
  });
  return new Promise((resolve, reject) => {
    child.on('error', reject);
    child.on('close', (code, signal) =>
      resolve({ code, signal, stdout, stderr, first: stderr.split('\n', 1)[0] as string }),
    );
  });
}

/** A folder with files, far from this repository: nothing is installed there. Removed after the test. */
export function project(files: Readonly<Record<string, string | object>>): string {
  const folder = mkdtempSync(join(tmpdir(), 'trapline test '));
  onTestFinished(() => rmSync(folder, { recursive: true, force: true }));
  for (const [name, content] of Object.entries(files)) {
    const path = join(folder, name);
    mkdirSync(dirname(path), { recursive: true });
    writeFileSync(path, typeof content === 'string' ? content : JSON.stringify(content));
  }
  return folder;
}

/** The text of a machine file. @param devices an object literal @param script the body of the guest's function */
export function machineText(devices: string, script = "cpu.write('pio', 0xf4, 1, 0);", before = ''): string {
  return `import { defineMachine, Device, mmio, Mmio, Pio, pio, use } from '@trapline/core';
import { Exit, Latch } from '${FIXTURES}/devices.js';
${before}
export default defineMachine({
  memory: '1M',
  devices: { ${devices} },
  guest: { kind: 'script', script: async (cpu) => { ${script} } },
});
`;
}
