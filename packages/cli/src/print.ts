// What the command says, and where: answers on stdout, everything else on stderr.
import { CompositionError, formatError, messageOf, TraplineError } from '@trapline/core';

let debugging = false;

/** Stacks and debug messages from now on. */
export function setDebugging(on: boolean): void {
  debugging = on;
}

/** Does the user want stacks and debug messages? */
export function isDebugging(): boolean {
  return debugging;
}

/** The command's answer. */
export function answer(text: string): void {
  process.stdout.write(text);
}

/** Anything that is not the answer. */
export function say(text: string): void {
  process.stderr.write(`${text}\n`);
}

/** Prints an error, each problem of a machine by itself: two lines each, stacks only with `--debug`. */
export function printError(thrown: unknown): void {
  const problems = thrown instanceof CompositionError ? thrown.problems : [thrown];
  for (const problem of problems) {
    say(problem instanceof TraplineError ? formatError(problem) : formatError(unexpected(problem)));
    if (debugging) say(stackOf(problem));
  }
}

/** An error nobody foresaw: a mistake in Trapline, in the machine file, or in a plugin. */
function unexpected(thrown: unknown): TraplineError {
  const kind = thrown instanceof Error && thrown.name !== 'Error' ? `${thrown.name}: ` : '';
  return new TraplineError('TL_INTERNAL', `${kind}${messageOf(thrown)}`);
}

function stackOf(thrown: unknown): string {
  if (!(thrown instanceof Error)) return '';
  const own = thrown.stack ?? String(thrown);
  return thrown.cause === undefined ? own : `${own}\ncaused by: ${stackOf(thrown.cause) || String(thrown.cause)}`;
}
