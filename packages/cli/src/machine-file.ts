// Imports the user's machine file and says, in its own terms, what is wrong with it.
import { existsSync, statSync } from 'node:fs';
import { resolve } from 'node:path';
import { pathToFileURL } from 'node:url';
import { isMachine, type Machine, messageOf, TraplineError } from '@trapline/core';
import type { Host } from './commands/command.js';

/** Imports a machine file. @throws TraplineError `TL_MACHINE_FILE` */
export async function loadMachine(file: string, host: Host): Promise<{ machine: Machine; path: string }> {
  const path = resolve(file);
  const exports = await importModule(path, file, 'TL_MACHINE_FILE', host);
  const machine: unknown = exports.default;
  if (isMachine(machine)) return { machine, path };
  const what = 'default' in exports ? 'its default export is no machine' : 'it has no default export';
  throw new TraplineError('TL_MACHINE_FILE', what, { who: file });
}

/** Imports a module of the user's. @param shown how the user wrote it; every error names it */
export async function importModule(
  path: string,
  shown: string,
  code: 'TL_MACHINE_FILE' | 'TL_PLUGIN',
  host: Host,
): Promise<Readonly<Record<string, unknown>>> {
  const refuse = (what: string, fix?: string, cause?: unknown) =>
    new TraplineError(code, what, { who: shown, fix, cause });
  if (!existsSync(path)) throw refuse('there is no such file', 'check the path; it is relative to where you are');
  if (statSync(path).isDirectory()) throw refuse('this is a folder', 'name the file in it');
  host.registerTypeScript();
  try {
    return (await import(pathToFileURL(path).href)) as Record<string, unknown>;
  } catch (thrown) {
    if (thrown instanceof TraplineError) throw thrown;
    throw explain(thrown, refuse);
  }
}

type Refuse = (what: string, fix?: string, cause?: unknown) => TraplineError;

/** Turns what `import()` throws into a sentence and an advice. */
function explain(thrown: unknown, refuse: Refuse): TraplineError {
  const message = messageOf(thrown);
  const code = (thrown as NodeJS.ErrnoException | undefined)?.code;
  if (code === 'EACCES') return refuse('cannot be read: permission denied', 'make it readable: chmod +r', thrown);
  const missing = /^Cannot find (?:package|module) '([^']+)'(?: imported from (.+))?/.exec(message);
  if (code === 'ERR_MODULE_NOT_FOUND' && missing) {
    const [, what, from] = missing;
    const fix = /^[./]/.test(what ?? '') ? 'check the path of the import' : `install it: npm install ${what}`;
    return refuse(`cannot find ${what}${from ? `, imported by ${from}` : ''}`, fix, thrown);
  }
  const absent = /does not provide an export named '?([^']+)'?/.exec(message);
  if (absent) {
    const fix = `check its spelling; if ${absent[1]} is a type, write: import { type ${absent[1]} }`;
    return refuse(message, fix, thrown);
  }
  if (thrown instanceof SyntaxError) return refuse(`cannot be compiled: ${message}`, 'correct the syntax', thrown);
  return refuse(`threw while it was imported: ${message}`, 'run again with --debug for the stack', thrown);
}
