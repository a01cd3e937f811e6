import type { CommandSpec, OptionSpec } from '../arguments.js';

/** What the process offers to a command. */
export interface Host {
  /** Lets this process import TypeScript; idempotent. */
  readonly registerTypeScript: () => void;
}

/** A command: its declaration, and what it does. The result is the exit code. */
export interface Command {
  readonly spec: CommandSpec;
  run(args: readonly string[], host: Host): Promise<number>;
}

/** Options that several commands share. */
export const COMMON = {
  plugin: {
    type: 'texts',
    value: 'FILE|PACKAGE',
    help: 'load a plugin beside those the package.json names; may be repeated',
  },
  json: { type: 'flag', help: 'print JSON instead of text' },
  debug: { type: 'flag', help: 'print stacks of errors, and debug messages' },
} as const satisfies Record<string, OptionSpec>;
