import type { ScriptCpu } from '@trapline/core';

// The addresses of the devices, as in hello.S.
const UART = { data: 0x3f8, ier: 0x3f9, fcr: 0x3fa, lcr: 0x3fb, mcr: 0x3fc, lsr: 0x3fd } as const;
const LSR = { dataReady: 0x01, thrEmpty: 0x20 } as const;
const UART_IRQ = 4;
const HELLO = { id: 0x2a0, text: 0x2a1, scratch: 0x2a2 } as const;
const HELLO_REGS = { magic: 0xd000_0000, add: 0xd000_0004, total: 0xd000_0008, status: 0xd000_000c } as const;
const OVERFLOW = 1;
/** A device whose text has no end must not keep us. */
const LONGEST_TEXT = 200;
const EXIT_PORT = 0xf4;
const EOT = 0x04;
const BACKSPACE = 0x08;
const DELETE = 0x7f;

/**
 * The guest of hello.S as a script, for machines without a CPU to run it on: the same accesses, the same console
 * text but for its first line, the same verdict.
 */
export async function helloScript(cpu: ScriptCpu): Promise<void> {
  setUpUart(cpu);
  print(cpu, 'Trapline guest: hello from a script\n');
  const failures = tryPorts(cpu) + tryRegisters(cpu);
  await echo(cpu);
  // Whoever stopped the machine needs no verdict.
  if (cpu.signal.aborted) return;
  print(cpu, 'bye\n');
  out(cpu, EXIT_PORT, failures);
}

function setUpUart(cpu: ScriptCpu): void {
  out(cpu, UART.lcr, 0x80); // DLAB: the divisor
  out(cpu, UART.data, 1); // 115200 baud
  out(cpu, UART.ier, 0);
  out(cpu, UART.lcr, 0x03); // 8 bits, no parity, 1 stop bit
  out(cpu, UART.fcr, 0x07); // FIFOs on and empty, interrupt from the first byte on
  out(cpu, UART.mcr, 0x0b); // DTR, RTS, and OUT2, which gates the interrupt on a PC
  out(cpu, UART.ier, 0x01); // received data
}

/** The device's ports. @returns how many checks failed */
function tryPorts(cpu: ScriptCpu): number {
  let failures = check(cpu, input(cpu, HELLO.id) === 0x48, 'hello-device id');
  out(cpu, HELLO.scratch, 0xa5);
  const first = input(cpu, HELLO.scratch);
  out(cpu, HELLO.scratch, 0x5a);
  const second = input(cpu, HELLO.scratch);
  failures += check(cpu, first === 0xa5 && second === 0x5a, 'hello-device scratch register');

  print(cpu, 'hello-device says: ');
  let left = LONGEST_TEXT;
  for (; left > 0; left--) {
    const byte = input(cpu, HELLO.text);
    if (byte === 0) break;
    put(cpu, byte);
  }
  print(cpu, '\n');
  return failures + check(cpu, left > 0, 'hello-device text has an end');
}

/** The device's memory-mapped registers. @returns how many checks failed */
function tryRegisters(cpu: ScriptCpu): number {
  const { magic, add, total, status } = HELLO_REGS;
  let failures = check(cpu, cpu.read('mmio', magic, 4) === 0x6f6c_6c48, 'hello-device magic, 32 bits');
  failures += check(cpu, cpu.read('mmio', magic, 2) === 0x6c48, 'hello-device magic, 16 bits');
  failures += check(cpu, cpu.read('mmio', magic, 1) === 0x48, 'hello-device magic, 8 bits');

  cpu.write('mmio', add, 4, 40);
  cpu.write('mmio', add, 4, 2);
  const sum = cpu.read('mmio', total, 4);
  print(cpu, `40 + 2 = ${sum}\n`);
  failures += check(cpu, sum === 42, 'hello-device total');

  cpu.write('mmio', add, 4, 0xffff_ffff);
  const raised = cpu.read('mmio', status, 4) & OVERFLOW;
  failures += check(cpu, raised === OVERFLOW, 'hello-device overflow is reported');
  cpu.write('mmio', status, 4, OVERFLOW);
  const left = cpu.read('mmio', status, 4) & OVERFLOW;
  return failures + check(cpu, left === 0, 'hello-device overflow is cleared by writing 1');
}

/** Echoes what is typed until an empty line or Ctrl-D. */
async function echo(cpu: ScriptCpu): Promise<void> {
  print(cpu, 'Type, and the guest echoes; an empty line or Ctrl-D ends.\n');
  let onLine = 0;
  let afterCr = false;
  for (;;) {
    const byte = await get(cpu);
    const secondHalf = afterCr && byte === 0x0a;
    afterCr = byte === 0x0d;
    if (byte === EOT) {
      if (onLine > 0) print(cpu, '\n');
      return;
    }
    if (secondHalf) continue;
    if (byte === 0x0d || byte === 0x0a) {
      if (onLine === 0) return;
      print(cpu, '\n');
      onLine = 0;
    } else if (byte === BACKSPACE || byte === DELETE) {
      if (onLine === 0) continue;
      onLine--;
      print(cpu, '\b \b');
    } else {
      put(cpu, byte);
      onLine++;
    }
  }
}

/** The next byte typed; asleep until there is one. A machine that stops reads as Ctrl-D. */
async function get(cpu: ScriptCpu): Promise<number> {
  while ((input(cpu, UART.lsr) & LSR.dataReady) === 0) {
    await cpu.halt();
    if (cpu.signal.aborted) return EOT;
    // Something else woke us, and may do so again at once: the host's other work needs its turn.
    if (!cpu.line(UART_IRQ)) await cpu.sleep(1);
  }
  return input(cpu, UART.data);
}

function check(cpu: ScriptCpu, holds: boolean, what: string): number {
  if (!holds) print(cpu, `check failed: ${what}\n`);
  return holds ? 0 : 1;
}

function print(cpu: ScriptCpu, text: string): void {
  for (const character of text) put(cpu, character.charCodeAt(0));
}

function put(cpu: ScriptCpu, byte: number): void {
  while ((input(cpu, UART.lsr) & LSR.thrEmpty) === 0);
  out(cpu, UART.data, byte);
}

function input(cpu: ScriptCpu, port: number): number {
  return cpu.read('pio', port, 1);
}

function out(cpu: ScriptCpu, port: number, value: number): void {
  cpu.write('pio', port, 1, value);
}
