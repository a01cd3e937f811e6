// Machine code for tests, by hand: real-mode fragments, and a way into protected mode.
import type { GuestMemory } from '@trapline/core';

/** Where test guests are loaded and entered. */
export const ENTRY = 0x1000;
/** Where interrupt handlers of test guests are. */
export const HANDLER = 0x1800;
/** First MMIO address of a guest with 1 MiB: reachable from real mode as ffff:0010. */
export const MMIO = 0x10_0000;

/** `jmp` to itself. */
export const SPIN = [0xeb, 0xfe];
/** `hlt`, again and again; for ever, if interrupts are off. */
export const HALT = [0xf4, 0xeb, 0xfd];

/** `out port, al` after `mov al, value`. */
export function out(port: number, value: number): number[] {
  return [0xb0, value, 0xe6, port];
}

/** DS (and ES) to ffff, so that offset 0x10 is {@link MMIO}. */
export const DS_TOP = [0xb8, 0xff, 0xff, 0x8e, 0xd8, 0x8e, 0xc0];

/** Sets up the PICs with IRQ n at vector 8 + n, all masked but `irq`. */
export function pics(irq: number): number[] {
  return [
    ...out(0x20, 0x11),
    ...out(0x21, 0x08),
    ...out(0x21, 0x04),
    ...out(0x21, 0x01),
    ...out(0x21, ~(1 << irq) & 0xff),
  ];
}

/** Points a real-mode interrupt vector at {@link HANDLER} and puts code there. */
export function onInterrupt(memory: GuestMemory, vector: number, code: readonly number[]): void {
  memory.writeU16(vector * 4, HANDLER);
  memory.writeU16(vector * 4 + 2, 0);
  memory.write(HANDLER, Uint8Array.from(code));
}

/** Where application processors start, in real mode: the page of {@link START_APS}'s SIPI. */
export const AP_ENTRY = 0x4000;

/** `mov dword [address], value`, in protected mode. */
function store(address: number, value: number): number[] {
  const bytes = (word: number) => [word & 0xff, (word >>> 8) & 0xff, (word >>> 16) & 0xff, word >>> 24];
  return [0xc7, 0x05, ...bytes(address), ...bytes(value)];
}

/** In protected mode, on the bootstrap processor: local APIC on, then INIT, SIPI, SIPI to all others. */
export const START_APS = [
  ...store(0xfee0_00f0, 0x1ff),
  ...store(0xfee0_0300, 0x000c_4500),
  ...store(0xfee0_0300, 0x000c_4600 | (AP_ENTRY >> 12)),
  ...store(0xfee0_0300, 0x000c_4600 | (AP_ENTRY >> 12)),
];

/** Tells this CPU's numbers: its APIC id of CPUID leaf 1 at port 10h, its x2APIC id of leaf 0bh at port 11h. */
export function tellNumbers(mode: 16 | 32): number[] {
  const wide = mode === 16 ? [0x66] : [];
  return [
    ...[...wide, 0xb8, 1, 0, 0, 0, 0x0f, 0xa2], // mov eax, 1; cpuid
    ...[...wide, 0xc1, 0xeb, 24, 0x88, 0xd8, 0xe6, 0x10], // shr ebx, 24; mov al, bl; out 10h, al
    ...[...wide, 0xb8, 0x0b, 0, 0, 0, ...wide, 0x31, 0xc9, 0x0f, 0xa2], // mov eax, 0bh; xor ecx, ecx; cpuid
    ...[0x88, 0xd0, 0xe6, 0x11], // mov al, dl; out 11h, al
  ];
}

/** Reads port 12h and writes what it got to port 13h, `times` times. */
export function echo(mode: 16 | 32, times: number): number[] {
  const count = [times & 0xff, times >> 8];
  return [0xb9, ...count, ...(mode === 32 ? [0, 0] : []), 0xe4, 0x12, 0xe6, 0x13, 0xe2, 0xfa];
}

const GDT = 0x2000;
const IDT = 0x2100;

/** `code` runs in flat 32-bit protected mode, after a prologue. See {@link prepareProtectedMode}. */
export function protectedMode(code: readonly number[]): number[] {
  const prologue = [
    ...[0xfa], // cli
    ...[0x0f, 0x01, 0x16, GDT & 0xff, GDT >> 8], // lgdt [GDT]
    ...[0x0f, 0x20, 0xc0, 0x0c, 0x01, 0x0f, 0x22, 0xc0], // CR0.PE
  ];
  const body = ENTRY + prologue.length + 8;
  return [
    ...prologue,
    ...[0x66, 0xea, body & 0xff, body >> 8, 0, 0, 0x08, 0], // jmp 08:body
    ...[0x66, 0xb8, 0x10, 0, 0x8e, 0xd8, 0x8e, 0xc0, 0x8e, 0xd0], // data segments
    ...[0xbc, 0, 0x80, 0, 0], // esp
    ...[0x0f, 0x01, 0x1d, IDT & 0xff, IDT >> 8, 0, 0], // lidt [IDT]
    ...code,
  ];
}

/** The tables {@link protectedMode} expects, with one interrupt gate to {@link HANDLER}. */
export function prepareProtectedMode(memory: GuestMemory, vector: number, handler: readonly number[]): void {
  // The null descriptor's place holds the pointer to the table itself.
  memory.write(GDT, Uint8Array.of(0x17, 0, GDT & 0xff, GDT >> 8, 0, 0, 0, 0));
  memory.write(GDT + 8, Uint8Array.of(0xff, 0xff, 0, 0, 0, 0x9a, 0xcf, 0));
  memory.write(GDT + 16, Uint8Array.of(0xff, 0xff, 0, 0, 0, 0x92, 0xcf, 0));
  const table = IDT + 8;
  memory.write(IDT, Uint8Array.of(0xff, 0x07, table & 0xff, table >> 8, 0, 0));
  memory.write(table + vector * 8, Uint8Array.of(HANDLER & 0xff, HANDLER >> 8, 0x08, 0, 0, 0x8e, 0, 0));
  memory.write(HANDLER, Uint8Array.from(handler));
}
