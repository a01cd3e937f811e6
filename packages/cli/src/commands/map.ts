import { CompositionError, checkMachine, hex, type MachineReport } from '@trapline/core';
import { parse } from '../arguments.js';
import { answer, printError } from '../print.js';
import { table } from '../table.js';
import { COMMON, type Command, type Host } from './command.js';
import { loadProject } from './project.js';

const SPEC = {
  name: 'map',
  summary: 'print the address map and the interrupt lines of a machine',
  operands: ['FILE'],
  options: COMMON,
  examples: ['trapline map machine.ts', 'trapline map machine.ts --json'],
} as const;

/** `trapline map` */
export const map: Command = {
  spec: SPEC,
  async run(args: readonly string[], host: Host): Promise<number> {
    const { values, operands } = parse(SPEC, args);
    const { machine, problems } = await loadProject(operands[0] as string, values.plugin, host);
    const report = checkMachine(machine);
    for (const problem of problems) printError(problem);
    if (report.problems.length > 0) throw new CompositionError(report.problems);
    if (values.json) answer(`${JSON.stringify({ map: report.map, lines: report.lines })}\n`);
    else answer(mapText(report));
    return 0;
  },
};

function mapText({ map: rows, lines }: MachineReport): string {
  const linesOf = (id: string) =>
    lines
      .filter(({ device }) => device === id)
      .map(({ name, line }) => (name === 'irq' ? String(line) : `${name}=${line}`))
      .join(' ');
  // Each device's lines once, at its first range.
  const shown = new Set<string>();
  const once = (id: string) => (shown.has(id) ? '' : shown.add(id) && linesOf(id));
  const body = rows.map(({ space, first, last, device, region, type }) => [
    space,
    first === last ? hex(first) : `${hex(first)}-${hex(last)}`,
    String(last - first + 1),
    region ? `${device}.${region}` : device,
    type,
    once(device),
  ]);
  const homeless = [...new Set(lines.map(({ device }) => device))].filter((id) => !shown.has(id));
  for (const id of homeless) body.push(['', '', '', id, '', linesOf(id)]);
  return table(['space', 'addresses', 'bytes', 'device', 'type', 'irq'], body, new Set([2]));
}
