import { dirname, resolve } from 'node:path';
import type { Machine, TraplineError } from '@trapline/core';
import { loadMachine } from '../machine-file.js';
import { loadPlugins } from '../plugins/load.js';
import type { Host } from './command.js';

/**
 * A machine file and the plugins around it. The plugins are loaded for what they bring (a backend, for
 * example) and so that one made for another Trapline, or two that cannot live together, are noticed
 * before anything runs.
 */
export async function loadProject(
  file: string,
  named: readonly string[],
  host: Host,
): Promise<{ readonly machine: Machine; readonly problems: readonly TraplineError[] }> {
  const { machine } = await loadMachine(file, host);
  const { problems } = await loadPlugins({ folder: dirname(resolve(file)), named, builtIn: false }, host);
  return { machine, problems };
}
