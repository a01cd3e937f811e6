// Who runs the guest: the bare loop, Trapline, QEMU.
import { spawnSync } from 'node:child_process';
import { readFile } from 'node:fs/promises';
import { defineMachine, type FlatGuest, start, use } from '@trapline/core';
import { DebugExit } from '@trapline/devices-pc';
import { kvm } from '@trapline/native';
import type { Built } from './build.js';
import { BenchCells, BenchConsole, BenchHpet, BenchUart } from './devices.js';
import { parseReport, type Register, type Report } from './report.js';

/** One run: what the guest says of it, and what the devices do. */
export interface Run {
  readonly report: Report;
  /** Reads that the device has seen; not known of QEMU's. */
  readonly seen?: Readonly<Record<Register, number>>;
}

/** How long a vCPU thread spins for an answer before it sleeps, in µs, if there is more than one core. */
export const SPIN_MICROSECONDS = 50;

const QEMU = 'qemu-system-x86_64';
const MEMORY_MIB = 16;
/** A process that takes longer, in ms, hangs. */
const PATIENCE = 300_000;

/** Runs a command to its end, this thread asleep. @throws Error if it does not end with `status` */
function output(command: string, args: readonly string[], status: number): { stdout: string; stderr: string } {
  const result = spawnSync(command, args, { encoding: 'utf8', timeout: PATIENCE, stdio: ['ignore', 'pipe', 'pipe'] });
  if (result.status !== status) {
    const why = result.error?.message ?? `status ${result.status}, signal ${result.signal}: ${result.stderr}`;
    throw new Error(`${command}: ${why}`);
  }
  return result;
}

/** The bare loop: C, handlers inline. */
export function runBare({ bare, guest }: Built): Run {
  const { stdout, stderr } = output(bare, [guest], 0);
  const [pio, mmio] = stderr.split(' ').map(Number) as [number, number];
  return { report: parseReport(stdout), seen: { pio, mmio } };
}

/** Is there a QEMU? */
export function hasQemu(): boolean {
  return spawnSync(QEMU, ['--version']).status === 0;
}

/** QEMU's own 16550 and HPET. @param accelerator `tcg` proves only that the guest runs */
export function runQemu({ rom }: Built, accelerator: 'kvm' | 'tcg' = 'kvm'): Run {
  const { stdout } = output(
    QEMU,
    [
      ...['-accel', accelerator, '-machine', 'pc,hpet=on', '-m', `${MEMORY_MIB}`],
      ...(accelerator === 'kvm' ? ['-cpu', 'host'] : []),
      ...['-nodefaults', '-no-user-config', '-display', 'none', '-monitor', 'none', '-no-reboot', '-bios', rom],
      ...['-serial', 'null', '-debugcon', 'stdio', '-device', 'isa-debug-exit,iobase=0xf4,iosize=1'],
    ],
    // isa-debug-exit makes 2 * value + 1 of the value written.
    1,
  );
  return { report: parseReport(stdout) };
}

async function flat({ guest }: Built): Promise<FlatGuest> {
  const image = await readFile(guest);
  return { kind: 'flat', address: 0x1000, image: () => image };
}

const backend = () => kvm({ waitSpinMicroseconds: SPIN_MICROSECONDS });
const memory = `${MEMORY_MIB}M` as const;
const ends = { console: use(BenchConsole), exit: use(DebugExit) };

/** Devices in TypeScript. */
export async function runDevices(built: Built): Promise<Run> {
  const machine = defineMachine({
    memory,
    devices: { uart: use(BenchUart), hpet: use(BenchHpet), ...ends },
    guest: await flat(built),
  });
  const vm = await start(machine, { backend: backend() });
  try {
    await vm.wait();
    const { uart, hpet, console } = vm.devices;
    return { report: parseReport(console.text), seen: { pio: uart.reads, mmio: hpet.reads } };
  } finally {
    await vm.close();
  }
}

/**
 * The same registers as latches, which the vCPU thread serves itself.
 * @param onCells called with them before the guest runs
 */
export async function runLatches(built: Built, onCells: (cells: BenchCells) => void = () => {}): Promise<Run> {
  const machine = defineMachine({ memory, devices: { cells: use(BenchCells), ...ends }, guest: await flat(built) });
  const vm = await start(machine, {
    backend: backend(),
    onComposed: ({ devices }) => onCells(devices.cells as BenchCells),
  });
  try {
    await vm.wait();
    const reads = (region: string) => vm.counters().find((range) => range.region === region)?.reads ?? 0;
    return {
      report: parseReport(vm.devices.console.text),
      seen: { pio: reads('scratch'), mmio: reads('counter') },
    };
  } finally {
    await vm.close();
  }
}
