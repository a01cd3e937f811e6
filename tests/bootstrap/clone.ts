import { type ChildProcess, spawn } from 'node:child_process';
import { chmodSync, cpSync, existsSync, mkdirSync, mkdtempSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { dirname, join } from 'node:path';
import { fileURLToPath } from 'node:url';

const SCRIPTS = fileURLToPath(new URL('../../scripts', import.meta.url));

/**
 * What stands for npx in a clone: it installs nothing, counts its calls, fails with the words in
 * `FAKE_NPX`, and with `FAKE_NPX_WAITS` comes to its end only when there is a file `release`.
 */
const FAKE_NPX = `#!${process.execPath}
const fs = require('node:fs');
fs.appendFileSync('calls.log', process.argv.slice(2).join(' ') + '\\n');
console.log('Progress: resolved 1');
const { FAKE_NPX, FAKE_NPX_WAITS } = process.env;
if (FAKE_NPX) { console.error(FAKE_NPX); process.exit(1); }
function install() {
  // One folder at a time, and nothing once the clone is gone: it must not come back.
  if (!fs.existsSync('package.json')) return;
  if (FAKE_NPX_WAITS && !fs.existsSync('release')) return void setTimeout(install, 20);
  for (const folder of ['node_modules', 'node_modules/.pnpm']) if (!fs.existsSync(folder)) fs.mkdirSync(folder);
}
install();
`;

export interface Ended {
  readonly code: number | null;
  readonly stdout: string;
  readonly stderr: string;
  readonly lastLine: string;
}

/** A clone in miniature, in a folder with a space in its name, with an npx that needs no network. */
export class Clone {
  readonly root = join(mkdtempSync(join(tmpdir(), 'trapline-')), 'a clone');
  readonly bin = join(this.root, '..', 'bin');

  constructor() {
    cpSync(SCRIPTS, join(this.root, 'scripts'), { recursive: true, filter: (path) => !path.endsWith('.test.ts') });
    this.write('package.json', '{ "private": true, "type": "module", "packageManager": "pnpm@1.2.3" }');
    this.write('pnpm-lock.yaml', 'lockfileVersion: 9');
    mkdirSync(this.bin);
    writeFileSync(join(this.bin, 'npx'), FAKE_NPX);
    chmodSync(join(this.bin, 'npx'), 0o755);
  }

  write(path: string, text: string): void {
    mkdirSync(dirname(join(this.root, path)), { recursive: true });
    writeFileSync(join(this.root, path), text);
  }

  read(path: string): string {
    return readFileSync(join(this.root, path), 'utf8');
  }

  has(path: string): boolean {
    return existsSync(join(this.root, path));
  }

  /** The command lines that npx was given so far. */
  get calls(): string[] {
    // The file is there a moment before its first line.
    return this.has('calls.log') ? this.read('calls.log').split('\n').filter(Boolean) : [];
  }

  /** Starts a script of the clone. */
  spawn(
    script: string,
    env: NodeJS.ProcessEnv = {},
    args: readonly string[] = [],
  ): { child: ChildProcess; ended: Promise<Ended> } {
    const child = spawn(process.execPath, [join(this.root, 'scripts', script), ...args], {
      cwd: this.root,
      env: { PATH: this.bin, HOME: this.root, ...env },
      stdio: ['pipe', 'pipe', 'pipe'],
    });
    let stdout = '';
    let stderr = '';
    child.stdout?.setEncoding('utf8').on('data', (text) => {
      stdout += text;
    });
    child.stderr?.setEncoding('utf8').on('data', (text) => {
      stderr += text;
    });
    const ended = new Promise<Ended>((resolve) => {
      child.once('close', (code) =>
        resolve({ code, stdout, stderr, lastLine: stderr.trimEnd().split('\n').at(-1) ?? '' }),
      );
    });
    return { child, ended };
  }

  setUp(env?: NodeJS.ProcessEnv): Promise<Ended> {
    return this.spawn('setup.mjs', env).ended;
  }

  remove(): void {
    // What was killed may have a child that still writes there.
    rmSync(dirname(this.root), { recursive: true, force: true, maxRetries: 20, retryDelay: 50 });
  }
}
