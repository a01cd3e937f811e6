// A device handler that does not return: it is named after a second, and after `--handler-timeout` the process ends.
import { url as inspectorUrl } from 'node:inspector';
import { TraplineError } from '@trapline/core';
import type { Watchdog } from '@trapline/native';

/** Device code that runs this long is named, in ms. */
const WARN_MS = 1000;
const DEFAULT_SECONDS = '10';
/** How often to look whether a debugger came later, in ms. */
const DEBUGGER_MS = 200;

/** How device code is watched. */
export interface HandlerWatchSettings {
  /** In ms; 0 is never. */
  readonly timeoutMs: number;
  /** Do not warn. */
  readonly quiet: boolean;
}

/** Reads `--handler-timeout`. @returns ms, 0 for never @throws TraplineError `TL_USAGE` */
export function parseHandlerTimeout(text: string = DEFAULT_SECONDS): number {
  const ms = Math.ceil(Number(text) * 1000);
  if (/^\d+(\.\d+)?$/.test(text) && ms < 2 ** 31) return ms;
  throw new TraplineError('TL_USAGE', `--handler-timeout ${text} is no number of seconds`, {
    who: 'trapline run',
    fix: 'write for example --handler-timeout 30, or 0 for no limit',
  });
}

/**
 * Runs a machine whose device code is watched; the process may end meanwhile.
 * @param run is given no watch under a debugger, where a breakpoint is no hang, and without the native addon
 */
export async function whileWatched<T>(
  settings: HandlerWatchSettings,
  run: (watch: Watchdog | undefined) => Promise<T>,
): Promise<T> {
  const watch = inspectorUrl() === undefined ? await open(settings) : undefined;
  const looking = setInterval(() => {
    if (inspectorUrl() !== undefined) watch?.close();
  }, DEBUGGER_MS).unref();
  try {
    return await run(watch);
  } finally {
    clearInterval(looking);
    watch?.close();
  }
}

async function open({ timeoutMs, quiet }: HandlerWatchSettings): Promise<Watchdog | undefined> {
  // Where the package does not load, the list of backends says so.
  const native = await import('@trapline/native').catch(() => undefined);
  return native?.watchdog({ warnAfterMs: quiet ? 0 : WARN_MS, timeoutMs, fd: 2, exitCode: 1 });
}
