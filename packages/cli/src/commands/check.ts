import {
  type CompositionError,
  checkMachine,
  type Machine,
  type MachineReport,
  type TraplineError,
} from '@trapline/core';
import { parse } from '../arguments.js';
import { answer, printError } from '../print.js';
import { COMMON, type Command, type Host } from './command.js';
import { loadProject } from './project.js';

const SPEC = {
  name: 'check',
  summary: 'check a machine: every problem at once, opening nothing',
  operands: ['FILE'],
  options: COMMON,
  examples: ['trapline check machine.ts'],
} as const;

/** `trapline check` */
export const check: Command = {
  spec: SPEC,
  async run(args: readonly string[], host: Host): Promise<number> {
    const { values, operands } = parse(SPEC, args);
    const project = await loadProject(operands[0] as string, values.plugin, host);
    const { machine } = project;
    const report = checkMachine(machine);
    const problems = [...project.problems, ...report.problems];
    if (values.json) {
      answer(`${JSON.stringify({ problems: problems.map(asData), ...counts(machine, report) })}\n`);
    } else if (problems.length === 0) {
      const { devices, ranges, lines } = counts(machine, report);
      answer(`ok: ${some(devices, 'device')}, ${some(ranges, 'range')}, ${some(lines, 'line')}\n`);
    } else for (const problem of problems) printError(problem);
    return problems.length > 0 ? 1 : 0;
  },
};

/** A problem as data. */
export function asData({ code, who, what, fix }: TraplineError | CompositionError): object {
  return { code, who, what, fix };
}

function counts(machine: Machine, { map, lines }: MachineReport): Record<'devices' | 'ranges' | 'lines', number> {
  const devices = Object.keys(machine.devices).length;
  return { devices, ranges: map.length, lines: new Set(lines.map(({ line }) => line)).size };
}

function some(count: number, noun: string): string {
  return `${count} ${noun}${count === 1 ? '' : 's'}`;
}
