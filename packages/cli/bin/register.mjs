// Teaches this process to import TypeScript with decorator metadata, whatever tsconfig the user has or has not.
import * as nodeModule from 'node:module';
import * as hooks from './typescript-hooks.mjs';

let registered = false;

/**
 * Idempotent.
 * @param {{ sources: boolean }} options `sources`: Trapline's own packages run from their sources too
 */
export function registerTypeScript({ sources }) {
  if (registered) return;
  registered = true;
  const maps = wantsSourceMaps();
  if (maps) process.setSourceMapsEnabled(true);
  const data = { sources, maps };
  if (hasSoundSyncHooks()) {
    hooks.initialize(data);
    nodeModule.registerHooks({ resolve: hooks.resolve, load: hooks.load });
  } else {
    nodeModule.register('./typescript-hooks.mjs', import.meta.url, { data });
  }
}

/**
 * `registerHooks` keeps everything in one thread, but before 22.19 and 24.5 it overrides the conditions
 * of a resolve hook (nodejs/node#59011), which breaks named imports of CommonJS packages. 23 never got the fix.
 */
function hasSoundSyncHooks() {
  const [major = 0, minor = 0] = process.versions.node.split('.').map(Number);
  if (typeof nodeModule.registerHooks !== 'function') return false;
  return major >= 25 || (major === 24 && minor >= 5) || (major === 22 && minor >= 19);
}

/** A map costs time for each module: only where somebody will look at stacks or set breakpoints. */
function wantsSourceMaps() {
  const flags = [...process.execArgv, ...(process.env.NODE_OPTIONS ?? '').split(/\s+/)];
  return (
    process.argv.includes('--debug') ||
    flags.some((flag) => /^--(enable-source-maps|inspect(-brk|-wait)?\b)/.test(flag))
  );
}
