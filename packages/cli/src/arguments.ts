// What is typed behind `trapline`: declared as data, read with node's own parser.
import { parseArgs } from 'node:util';
import { nearest, TraplineError } from '@trapline/core';

/** One `--option`. */
export interface OptionSpec {
  /** A flag has no value. */
  readonly type: 'flag' | 'text' | 'texts';
  /** What stands for its value in the help: `FILE`. */
  readonly value?: string;
  readonly help: string;
}

/** One command, as data: parsing and help are made from it. */
export interface CommandSpec {
  readonly name: string;
  readonly summary: string;
  /** Operands in order, with how they are shown: `FILE` is required, `[TYPE]` is not. */
  readonly operands: readonly string[];
  readonly options: Readonly<Record<string, OptionSpec>>;
  readonly examples: readonly string[];
}

type ValueOf<O extends OptionSpec> = O['type'] extends 'flag'
  ? boolean
  : O['type'] extends 'texts'
    ? readonly string[]
    : string | undefined;

/** The options of a command, typed by its declaration. */
export type Values<S extends CommandSpec> = { readonly [K in keyof S['options']]: ValueOf<S['options'][K]> };

/** Reads the arguments of a command. @throws TraplineError `TL_USAGE` */
export function parse<S extends CommandSpec>(
  spec: S,
  args: readonly string[],
): { readonly values: Values<S>; readonly operands: readonly string[] } {
  const who = `trapline ${spec.name}`;
  const fix = `see trapline ${spec.name} --help`;
  const usage = (what: string, advice = fix) => new TraplineError('TL_USAGE', what, { who, fix: advice });
  const { tokens } = parseArgs({
    args: [...args],
    options: Object.fromEntries(
      Object.entries(spec.options).map(([name, { type }]) => [name, { type: type === 'flag' ? 'boolean' : 'string' }]),
    ),
    strict: false,
    allowPositionals: true,
    tokens: true,
  });
  const values: Record<string, unknown> = {};
  for (const [name, { type }] of Object.entries(spec.options)) {
    values[name] = type === 'flag' ? false : type === 'texts' ? [] : undefined;
  }
  const operands: string[] = [];
  for (const token of tokens) {
    if (token.kind === 'positional') operands.push(token.value);
    if (token.kind !== 'option') continue;
    const option = Object.hasOwn(spec.options, token.name) ? spec.options[token.name] : undefined;
    if (!option) {
      const meant = nearest(token.name, Object.keys(spec.options));
      throw usage(`unknown option ${token.rawName}`, meant ? `did you mean --${meant}? ${fix}` : fix);
    }
    if (option.type === 'flag') {
      if (token.value !== undefined) throw usage(`${token.rawName} takes no value`);
      values[token.name] = true;
      continue;
    }
    const forgotten = token.value?.startsWith('--') && !token.inlineValue;
    if (token.value === undefined || forgotten) {
      const literally = forgotten ? `, or ${token.rawName}=${token.value} if that is the value` : '';
      throw usage(`${token.rawName} needs a value`, `write ${token.rawName} ${option.value}${literally}`);
    }
    if (option.type === 'texts') (values[token.name] as string[]).push(token.value);
    else values[token.name] = token.value;
  }
  checkOperands(spec, operands, usage);
  return { values: values as Values<S>, operands };
}

function checkOperands(
  spec: CommandSpec,
  operands: readonly string[],
  usage: (what: string, fix?: string) => TraplineError,
): void {
  const missing = spec.operands.slice(operands.length).find((operand) => !operand.startsWith('['));
  if (missing) throw usage(`${missing} is missing`, `write: ${usageLine(spec)}`);
  const extra = operands[spec.operands.length];
  if (extra !== undefined) throw usage(`does not know what to do with ${extra}`, `write: ${usageLine(spec)}`);
}

/** `trapline run FILE [options]` */
export function usageLine(spec: CommandSpec): string {
  return ['trapline', spec.name, ...spec.operands, '[options]'].join(' ');
}

/** The help of one command. */
export function commandHelp(spec: CommandSpec): string {
  const rows = Object.entries(spec.options).map(
    ([name, { value, help }]) => [`--${name}${value ? ` ${value}` : ''}`, help] as const,
  );
  const width = Math.max(...rows.map(([left]) => left.length));
  return [
    `${spec.summary[0]?.toUpperCase()}${spec.summary.slice(1)}.`,
    '',
    `Usage: ${usageLine(spec)}`,
    '',
    'Options:',
    ...rows.map(([left, right]) => `  ${left.padEnd(width)}  ${right}`),
    '',
    'Examples:',
    ...spec.examples.map((example) => `  ${example}`),
    '',
  ].join('\n');
}
