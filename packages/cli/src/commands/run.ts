import { url as inspectorUrl } from 'node:inspector';
import {
  type BackendChoice,
  isHostResource,
  type LogRecord,
  type Machine,
  messageOf,
  start,
  TraplineError,
  type Vm,
  type VmExit,
} from '@trapline/core';
import { parse, type Values } from '../arguments.js';
import { registerBackends } from '../backends.js';
import { isDebugging, printError, say } from '../print.js';
import { type Ending, ProcessGuard } from '../run/process-guard.js';
import { type RunReport, reportOf, reportText } from '../run/report.js';
import { parseTrace, traceLine } from '../run/trace.js';
import { COMMON, type Command, type Host } from './command.js';
import { loadProject } from './project.js';

const SPEC = {
  name: 'run',
  summary: 'run a machine until its guest ends',
  operands: ['FILE'],
  options: {
    backend: { type: 'text', value: 'NAME', help: 'what runs the CPUs: kvm, sim, sim-js, or auto (the default)' },
    input: { type: 'text', value: 'TEXT', help: 'typed for the guest, then end of input; - is standard input' },
    profile: { type: 'flag', help: 'time every access, not 1 in 64' },
    trace: { type: 'texts', value: 'FILTER', help: 'print accesses: all, or for example com1,write or 0x3f8-0x3ff' },
    quiet: { type: 'flag', help: 'print errors only: no backend line, no warnings, no table' },
    ...COMMON,
    json: { type: 'flag', help: 'print the table at the end as one line of JSON' },
  },
  examples: [
    'trapline run machine.ts',
    "trapline run machine.ts --backend sim-js --input 'hello'",
    'trapline run machine.ts --trace com1,write --profile',
  ],
} as const;
type Options = Values<typeof SPEC>;

/** Longest time closing may take before the process ends without it. */
const CLOSE_MS = 5000;
const SAMPLE_EVERY = 64;

/** `trapline run` */
export const run: Command = {
  spec: SPEC,
  async run(args: readonly string[], host: Host): Promise<number> {
    const { values, operands } = parse(SPEC, args);
    const guard = new ProcessGuard();
    try {
      const [{ machine, problems }] = await Promise.all([
        loadProject(operands[0] as string, values.plugin, host),
        registerBackends(),
      ]);
      for (const problem of problems) printError(problem);
      return await runMachine(machine, values, guard);
    } finally {
      guard.dispose();
    }
  },
};

async function runMachine(machine: Machine, options: Options, guard: ProcessGuard): Promise<number> {
  const filters = options.trace.map((text) => parseTrace(text, Object.keys(machine.devices)));
  if (machine.guest === undefined) say('the machine has no guest: nothing runs until Ctrl-C');
  const { configureConsoles } = await import('../run/console.js');
  configureConsoles({
    input: options.input,
    onLeave: () => guard.leave(),
    onSilence: (ms) => say(`standard input was silent for ${ms / 1000} s: end of input (--input - waits for it)`),
  });
  let backend = '';
  const starting = start(machine, {
    backend: options.backend ?? 'auto',
    log: (record) => printLog(record, options.quiet),
    sampleEvery: options.profile ? 1 : SAMPLE_EVERY,
    signal: guard.signal,
    // A breakpoint is no hang: deadlines of deferred accesses are off.
    debugging: inspectorUrl() !== undefined,
    onBackend: (choice) => {
      backend = choice.provider.name;
      if (options.quiet) return;
      say(backendLine(choice));
      if (options.input === undefined && process.stdin.isTTY && usesTerminal(machine)) {
        say("the terminal is the guest's console: Ctrl-A x leaves");
      }
    },
    onComposed: (vm) => {
      for (const filter of filters) vm.traceOn(filter, (record) => say(traceLine(record)));
    },
  });
  const vm = await Promise.race([starting, guard.ending]);
  if (!('wait' in vm)) return await abandon(starting, vm);
  const ended = await Promise.race([vm.wait(), guard.ending]);
  await closeInTime(vm);
  guard.dispose();
  const exit = explainExit(ended);
  const report = reportOf(vm, backend, exit);
  if (options.json) say(JSON.stringify(report));
  else if (!options.quiet) say(`\n${reportText(report, options.profile).trimEnd()}`);
  return exit.code;
}

/** The process was asked to end while the machine was being opened. */
async function abandon(starting: Promise<Vm>, { code }: Ending): Promise<number> {
  await inTime(
    starting.then(
      (vm) => vm.close(),
      () => {},
    ),
  );
  return code;
}

function backendLine({ provider, why }: BackendChoice): string {
  return `backend ${provider.name}: ${why}`;
}

/** Will a device take this process's terminal? */
function usesTerminal({ devices }: Machine): boolean {
  const values = Object.values(devices).flatMap(({ config }) => Object.values(config) as unknown[]);
  return values.some((value) => isHostResource(value) && value.description === 'stdio()');
}

function printLog(record: LogRecord, quiet: boolean): void {
  const { level, who, message, error } = record;
  if (error) printError(error);
  else if (level === 'debug' ? isDebugging() : level === 'error' || !quiet) say(`${level} ${who}: ${message}`);
}

function explainExit(ended: VmExit | Ending): RunReport['exit'] {
  if ('why' in ended) return { reason: ended.why, code: ended.code };
  const { reason, code, error } = ended;
  if (error) printError(error);
  if (reason === 'triple-fault') {
    const fix = 'run with --trace all to see its last accesses';
    printError(new TraplineError('TL_BACKEND_FAILED', 'stopped by a triple fault', { who: 'guest', fix }));
  }
  if (reason === 'halted') say('the guest halted without ending the machine');
  const failed = error !== undefined || reason === 'triple-fault' || reason === 'backend-failed';
  return { reason, code: failed ? 1 : (code ?? 0) };
}

async function closeInTime(vm: Vm): Promise<void> {
  try {
    if (await inTime(vm.close())) return;
    const what = `did not close within ${CLOSE_MS} ms; the process ends without it`;
    printError(new TraplineError('TL_DEADLINE', what, { who: 'machine' }));
  } catch (thrown) {
    say(`while closing: ${messageOf(thrown)}`);
  }
}

/** Waits for a promise, but not for ever. @returns did it settle? */
async function inTime(promise: Promise<void>): Promise<boolean> {
  let timer: NodeJS.Timeout | undefined;
  const late = new Promise<boolean>((resolve) => {
    timer = setTimeout(() => resolve(false), CLOSE_MS);
  });
  try {
    return await Promise.race([promise.then(() => true), late]);
  } finally {
    clearTimeout(timer);
  }
}
