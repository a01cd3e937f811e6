import { fileURLToPath } from 'node:url';
import { createContext, runInContext } from 'node:vm';
import { build, type Rolldown } from 'vite';
import { describe, expect, it } from 'vitest';

/** Core's main entry and a guest of it, in one script without imports. */
async function bundle(): Promise<string> {
  const result = await build({
    configFile: false,
    logLevel: 'error',
    resolve: { conditions: ['trapline-src', 'module'] },
    build: {
      write: false,
      minify: false,
      lib: {
        entry: fileURLToPath(new URL('../test/bare-guest.ts', import.meta.url)),
        formats: ['iife'],
        name: 'guest',
      },
    },
  });
  const [{ output }] = result as [Rolldown.RolldownOutput];
  return (output.find((part) => part.type === 'chunk') as Rolldown.OutputChunk).code;
}

describe("core's main entry", () => {
  it('runs where there is no process, no Buffer, no console, no timers and no AbortController', async () => {
    const code = await bundle();
    expect(code).not.toMatch(/from\s*["']node:|require\(/);
    const context = createContext({}, { codeGeneration: { strings: false, wasm: false } });
    const missing = ['process', 'Buffer', 'setTimeout', 'AbortController', 'performance', 'crypto'];
    expect(runInContext(`${JSON.stringify(missing)}.filter((name) => name in globalThis)`, context)).toHaveLength(0);
    // A context comes with V8's own console; core must not miss it either.
    runInContext('delete globalThis.console', context);
    expect(await runInContext(`${code}\nguest.answer()`, context)).toBe(42);
  }, 60_000);
});
