import { spawn } from 'node:child_process';
import { createWriteStream, mkdirSync } from 'node:fs';
import { dirname } from 'node:path';

/** Children to end when this process is told to. */
const running = new Set();

/** Passes a signal on: without a terminal nobody else tells the children. */
export function endChildren() {
  for (const child of running) child.kill('SIGTERM');
}

/** A program that prints nothing for this long hangs, whatever it waits for. */
const SILENCE_MS = 5 * 60_000;

/**
 * Runs a program with everything it prints in a log file.
 * @param {readonly string[]} command program and arguments
 * @param {{ cwd: string, env: NodeJS.ProcessEnv, log: string, onLine?: (line: string) => void, silenceMs?: number }} options
 * @returns {Promise<{ code: number, output: string, errorOutput: string }>}
 */
export function runLogged([program, ...args], { cwd, env, log, onLine, silenceMs = SILENCE_MS }) {
  mkdirSync(dirname(log), { recursive: true });
  const file = createWriteStream(log);
  // A full disk must not bring this process down: the step itself fails soon enough.
  file.on('error', () => {});
  file.write(`$ ${[program, ...args].join(' ')}\n`);
  return new Promise((resolve) => {
    // On Windows npm's commands are batch files, which only a shell can start; no argument here needs quoting.
    const child =
      process.platform === 'win32'
        ? spawn([program, ...args].join(' '), { cwd, env, shell: true, stdio: ['ignore', 'pipe', 'pipe'] })
        : spawn(/** @type {string} */ (program), args, { cwd, env, stdio: ['ignore', 'pipe', 'pipe'] });
    running.add(child);
    let output = '';
    let errorOutput = '';
    const silence = setTimeout(() => {
      take(`no output for ${silenceMs / 1000} s: ended\n`);
      child.kill('SIGKILL');
      // What it started may still hold the pipes open.
      child.stdout.destroy();
      child.stderr.destroy();
    }, silenceMs);
    /** @param {string} text */
    const take = (text) => {
      silence.refresh();
      file.write(text);
      // The end of a log is what a diagnosis needs.
      output = (output + text).slice(-64 * 1024);
      const line = text.trimEnd().split('\n').pop()?.trim();
      if (line) onLine?.(line);
    };
    child.stdout.setEncoding('utf8').on('data', take);
    child.stderr.setEncoding('utf8').on('data', (text) => {
      errorOutput = (errorOutput + text).slice(-16 * 1024);
      take(text);
    });
    /** @param {number} code */
    const finish = (code) => {
      clearTimeout(silence);
      running.delete(child);
      file.end(`exit code ${code}\n`, () => resolve({ code, output, errorOutput }));
    };
    child.once('error', (error) => {
      output += `${error.message}\n`;
      file.write(`${error.message}\n`);
      finish(127);
    });
    child.once('close', (code, signal) => finish(code ?? (signal ? 1 : 0)));
  });
}
