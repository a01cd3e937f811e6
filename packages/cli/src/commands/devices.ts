import {
  type DeviceDescription,
  hex,
  inspectDevice,
  nearest,
  type RegisterDescription,
  TraplineError,
} from '@trapline/core';
import { parse } from '../arguments.js';
import { type KnownDevice, loadPlugins } from '../plugins/load.js';
import { answer, printError } from '../print.js';
import { table } from '../table.js';
import { COMMON, type Command, type Host } from './command.js';

const SPEC = {
  name: 'devices',
  summary: 'list the known device types, or all there is to know about one',
  operands: ['[TYPE]'],
  options: COMMON,
  examples: ['trapline devices', 'trapline devices uart16550', 'trapline devices --plugin ./src/plugin.ts'],
} as const;

/** `trapline devices` */
export const devices: Command = {
  spec: SPEC,
  async run(args: readonly string[], host: Host): Promise<number> {
    const { values, operands } = parse(SPEC, args);
    const { devices: known, problems } = await loadPlugins(
      { folder: process.cwd(), named: values.plugin, builtIn: true },
      host,
    );
    for (const problem of problems) printError(problem);
    const [type] = operands;
    if (type === undefined) listAll([...known.values()], values.json);
    else describeOne(findType(type, known), values.json);
    return problems.length > 0 ? 1 : 0;
  },
};

function listAll(all: readonly KnownDevice[], json: boolean): void {
  const rows = all
    .map(({ device, packageName, path }) => {
      const { type, summary } = inspectDevice(device);
      return { type, package: packageName, summary, path };
    })
    .sort((a, b) => (a.type < b.type ? -1 : 1));
  if (json) answer(`${JSON.stringify(rows)}\n`);
  else
    answer(
      table(
        ['type', 'package', 'summary'],
        rows.map((row) => [row.type, row.package, row.summary]),
      ),
    );
}

function findType(type: string, known: ReadonlyMap<string, KnownDevice>): KnownDevice {
  const found = known.get(type);
  if (found) return found;
  const meant = nearest(type, [...known.keys()]);
  const fix = `${meant ? `did you mean ${meant}? ` : ''}see trapline devices; name another plugin with --plugin`;
  throw new TraplineError('TL_USAGE', `there is no device type ${type}`, { who: 'trapline devices', fix });
}

function describeOne({ device, packageName, path }: KnownDevice, json: boolean): void {
  const description = inspectDevice(device);
  const { problem, ...rest } = description;
  if (json) answer(`${JSON.stringify({ ...rest, package: packageName, path })}\n`);
  else answer(`${description.type} (${packageName}): ${description.summary}\n${sections(description).join('')}`);
  if (problem) printError(problem);
}

function sections({ options, lines, regions }: DeviceDescription): string[] {
  const list = options.map(({ name, type, required, default: fallback, description }) => [
    `  ${name}`,
    type,
    required ? 'required' : fallback === undefined ? '' : JSON.stringify(fallback),
    description ?? '',
  ]);
  return [
    options.length > 0 ? `\n${table(['  option', 'type', 'default', ''], list)}` : '\n  no options\n',
    lines.length > 0 ? `\n${table(['  line', 'default'], lines.map(lineRow))}` : '',
    ...regions.map(
      ({ name, space, base, size, registers }) =>
        `\n  ${name || 'the device itself'}: ${space}${base === undefined ? '' : ` at ${hex(base)}`}${
          size === undefined ? '' : `, ${size} byte${size === 1 ? '' : 's'}`
        }\n${registers.length > 0 ? registerTable(registers) : ''}`,
    ),
  ];
}

function lineRow({ name, default: fallback }: DeviceDescription['lines'][number]): string[] {
  return [`  ${name}`, fallback === undefined ? 'none: give irq' : String(fallback)];
}

function registerTable(registers: readonly RegisterDescription[]): string {
  const rows = registers.flatMap((register) => [
    [
      `    ${hex(register.offset)}${register.bank === undefined ? '' : ` bank ${register.bank}`}${register.behindIndex ? ' indexed' : ''}`,
      register.name,
      '',
      String(8 * register.width),
      register.access,
      hex(register.reset),
      register.doc ?? '',
    ],
    ...register.fields.map((field) => [
      '',
      '',
      field.name,
      field.hi === field.lo ? String(field.lo) : `${field.hi}:${field.lo}`,
      field.access === register.access ? '' : field.access,
      '',
      [
        field.doc ?? '',
        Object.entries(field.values ?? {})
          .map(([value, name]) => `${value}=${name}`)
          .join(' '),
      ]
        .filter(Boolean)
        .join('; '),
    ]),
  ]);
  return table(['    offset', 'register', 'field', 'bits', 'access', 'reset', ''], rows);
}
