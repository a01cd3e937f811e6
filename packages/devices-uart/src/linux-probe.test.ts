// What Linux's 8250 driver does to find out which chip it has and which bugs, as data: the accesses
// of its autoconfiguration and start-up, in order, and what a chip without bugs answers.

import { type Attachment, mmio, pio } from '@trapline/core';
import { drive, REGION } from '@trapline/core/testing';
import { describe, expect, it } from 'vitest';
import { Uart16550 } from './index.js';

/** Register offsets as a driver names them. */
const DATA = 0;
const IER = 1;
const IIR = 2;
const FCR = 2;
const LCR = 3;
const MCR = 4;
const LSR = 5;
const MSR = 6;
const SCR = 7;

/** One access of a probe. */
type Step =
  | { readonly write: number; readonly value: number }
  | { readonly read: number; readonly mask: number; readonly expect: number };

/** A named part of the sequence. */
interface Probe {
  readonly name: string;
  readonly steps: readonly Step[];
}

const write = (register: number, value: number): Step => ({ write: register, value });
const read = (register: number, mask: number, expect: number): Step => ({ read: register, mask, expect });
const times = (count: number, step: (i: number) => Step): Step[] => Array.from({ length: count }, (_, i) => step(i));

/** The sequence, with the answers of a 16550A. */
const LINUX_PROBE: readonly Probe[] = [
  {
    name: 'IER: holds 0, then 0x0f',
    steps: [write(IER, 0), read(IER, 0x0f, 0), write(IER, 0x0f), read(IER, 0x0f, 0x0f), write(IER, 0)],
  },
  {
    name: 'loopback: RTS and OUT2 come back as CTS and DCD',
    steps: [write(MCR, 0x1a), read(MSR, 0xf0, 0x90), write(MCR, 0)],
  },
  {
    name: 'FCR: IIR says 16550A',
    steps: [write(LCR, 0xbf), write(FCR, 0), write(LCR, 0), write(FCR, 0x01), read(IIR, 0xc0, 0xc0)],
  },
  {
    name: 'EFR: no 16650, offset 2 stays IIR under both LCR values',
    steps: [
      write(FCR, 0x01),
      write(LCR, 0x80),
      read(IIR, 0xff, 0xc1),
      write(LCR, 0xbf),
      read(IIR, 0xff, 0xc1),
      write(LCR, 0),
    ],
  },
  {
    name: 'EXCR1: no SuperIO chip behind LCR 0xe0',
    steps: [
      write(FCR, 0x01),
      write(LCR, 0),
      read(MCR, 0x10, 0),
      write(LCR, 0xe0),
      read(IIR, 0xff, 0xc1),
      write(LCR, 0),
      write(MCR, 0x10),
      write(LCR, 0xe0),
      read(IIR, 0x10, 0),
      write(LCR, 0),
      write(MCR, 0),
    ],
  },
  {
    name: '64-byte FIFO: no 16750, with DLAB or without',
    steps: [
      write(FCR, 0x21),
      read(IIR, 0xe0, 0xc0),
      write(FCR, 0x01),
      write(LCR, 0x80),
      write(FCR, 0x21),
      read(IIR, 0xe0, 0xc0),
      write(FCR, 0x01),
      write(LCR, 0),
    ],
  },
  { name: 'UUE: no XScale, IER bit 6 does not exist', steps: [write(IER, 0x40), read(IER, 0x40, 0), write(IER, 0)] },
  {
    name: 'FIFO size: of 256 bytes looped back, 16 arrive',
    steps: [
      write(LCR, 0),
      write(FCR, 0x07),
      write(MCR, 0x10),
      write(LCR, 0x80),
      write(DATA, 0x01),
      write(IER, 0x00),
      write(LCR, 0x03),
      ...times(256, (i) => write(DATA, i)),
      ...times(32, (i) => (i % 2 === 0 ? read(LSR, 0x01, 0x01) : read(DATA, 0xff, (i - 1) / 2))),
      read(LSR, 0x01, 0),
      write(FCR, 0x00),
      write(MCR, 0x00),
    ],
  },
  {
    name: 'scratchpad: holds 0xa5, then 0x5a',
    steps: [write(SCR, 0xa5), read(SCR, 0xff, 0xa5), write(SCR, 0x5a), read(SCR, 0xff, 0x5a), write(SCR, 0)],
  },
  {
    name: 'start-up: clears FIFOs and interrupts, finds a live LSR',
    steps: [
      write(FCR, 0x01),
      write(FCR, 0x07),
      write(FCR, 0x00),
      read(LSR, 0x00, 0),
      read(DATA, 0x00, 0),
      read(IIR, 0x00, 0),
      read(MSR, 0x00, 0),
      read(LSR, 0xff, 0x60),
      write(LCR, 0x03),
      write(MCR, 0x08),
    ],
  },
  {
    name: 'UART_BUG_THRE: enabled again, the empty transmitter interrupts again',
    steps: [
      read(LSR, 0x20, 0x20),
      write(IER, 0x02),
      read(IIR, 0x0f, 0x02),
      write(IER, 0),
      write(IER, 0x02),
      read(IIR, 0x0f, 0x02),
      write(IER, 0),
    ],
  },
  {
    name: 'UART_BUG_TXEN: enabling the interrupt of an empty transmitter raises it',
    steps: [write(IER, 0x02), read(LSR, 0x40, 0x40), read(IIR, 0x0f, 0x02), write(IER, 0)],
  },
];

const PLACES: readonly { readonly name: string; readonly at: Attachment; readonly stride: number }[] = [
  { name: 'ports', at: pio(0x3f8), stride: 1 },
  { name: 'memory, 4 bytes apart', at: mmio(0xfe00_1000, { stride: 4 }), stride: 4 },
];

describe.each(PLACES)('the Linux 8250 probe, over $name', ({ at, stride }) => {
  const chip = (compat: '8250' | '16450' | '16550A' = '16550A') => {
    const t = drive(Uart16550, { at, irq: 4, compat });
    const bus = t.guest.regs[REGION];
    return {
      t,
      read: (r: number) => bus.read(r * stride, 1),
      write: (r: number, v: number) => bus.write(r * stride, 1, v),
    };
  };
  const run = ({ read, write }: ReturnType<typeof chip>, { name, steps }: Probe) => {
    for (const [i, step] of steps.entries()) {
      if ('write' in step) write(step.write, step.value);
      else expect(read(step.read) & step.mask, `${name}: step ${i}, register ${step.read}`).toBe(step.expect);
    }
  };

  it.each(LINUX_PROBE)('$name', (probe) => run(chip(), probe));

  it('finds all of it in one go, and is left quiet', () => {
    const one = chip();
    for (const probe of LINUX_PROBE) run(one, probe);
    expect(one.t.irq.level).toBe(false);
    expect(one.t.log).toEqual([]);
  });

  it('finds a 16450 where there are no FIFOs', () => {
    const { read, write } = chip('16450');
    write(FCR, 0x01);
    expect(read(IIR) >> 6).toBe(0);
    write(SCR, 0xa5);
    expect(read(SCR)).toBe(0xa5);
  });

  it('finds an 8250 where there is no scratchpad either', () => {
    const { read, write } = chip('8250');
    write(FCR, 0x01);
    expect(read(IIR) >> 6).toBe(0);
    write(SCR, 0xa5);
    expect(read(SCR)).not.toBe(0xa5);
    write(SCR, 0x5a);
    expect(read(SCR)).not.toBe(0x5a);
  });
});
