// The command's first and last lines: which command, what it throws, how the process ends.
import { nearest, TraplineError } from '@trapline/core';
import { commandHelp } from './arguments.js';
import { check } from './commands/check.js';
import type { Command, Host } from './commands/command.js';
import { devices } from './commands/devices.js';
import { map } from './commands/map.js';
import { newDevice } from './commands/new.js';
import { run } from './commands/run.js';
import { endProcess, tolerateClosedPipes } from './end.js';
import { ownManifest } from './own-manifest.js';
import { answer, printError, setDebugging } from './print.js';

const COMMANDS: readonly Command[] = [run, check, map, devices, newDevice];

/** Runs one command line and ends the process. */
export async function main(args: readonly string[], host: Host): Promise<void> {
  setDebugging(args.includes('--debug'));
  tolerateClosedPipes();
  let code: number;
  try {
    code = await dispatch(args, host);
  } catch (thrown) {
    printError(thrown);
    code = thrown instanceof TraplineError && thrown.code === 'TL_USAGE' ? 2 : 1;
  }
  await endProcess(code);
}

async function dispatch([name, ...args]: readonly string[], host: Host): Promise<number> {
  if (name === undefined || name === 'help' || name === '--help' || name === '-h') {
    answer(overview());
    return name === undefined ? 2 : 0;
  }
  if (name === '--version' || name === '-v') {
    answer(`${ownManifest().version}\n`);
    return 0;
  }
  const command = COMMANDS.find(({ spec }) => spec.name === name);
  if (!command) throw unknown(name);
  if (args.includes('--help') || args.includes('-h')) {
    answer(commandHelp(command.spec));
    return 0;
  }
  return command.run(args, host);
}

function unknown(name: string): TraplineError {
  const names = COMMANDS.map(({ spec }) => spec.name);
  const meant = nearest(name, names);
  const what = name.startsWith('-') ? `unknown option ${name}` : `unknown command ${name}`;
  const fix = `${meant ? `did you mean ${meant}? ` : ''}the commands are: ${names.join(', ')}`;
  return new TraplineError('TL_USAGE', what, { who: 'trapline', fix });
}

function overview(): string {
  const width = Math.max(...COMMANDS.map(({ spec }) => usage(spec.name, spec.operands).length));
  return [
    'Runs, checks and writes machines made of TypeScript devices.',
    '',
    'Usage: trapline COMMAND [options]',
    '',
    'Commands:',
    ...COMMANDS.map(({ spec }) => `  ${usage(spec.name, spec.operands).padEnd(width)}  ${spec.summary}`),
    '',
    'Options:',
    '  --help      help, also for one command: trapline run --help',
    '  --version   the version',
    '',
  ].join('\n');
}

function usage(name: string, operands: readonly string[]): string {
  return [name, ...operands].join(' ');
}
