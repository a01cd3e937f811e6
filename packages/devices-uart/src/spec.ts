// The 16550A's registers and constants, from the data sheet alone: National Semiconductor PC16550D,
// section 8 and tables I to IV. What the registers do is uart16550.ts.
import { bit, bits, layout, reg } from '@trapline/core';

/** Registers by offset; LCR.DLAB swaps the first two for the divisor latch (8.0, table II). */
export const UART = layout({
  width: 1,
  bank: 'lcr.dlab',
  regs: {
    rbr: reg(0, { access: 'ro', bank: 0, doc: 'Receiver buffer' }),
    thr: reg(0, { access: 'wo', bank: 0, doc: 'Transmitter holding' }),
    dll: reg(0, { access: 'rw', bank: 1, reset: 0x0c, doc: 'Divisor latch, low: 9600 baud as a PC leaves it' }),
    dlm: reg(1, { access: 'rw', bank: 1, doc: 'Divisor latch, high' }),
    ier: reg(1, {
      access: 'rw',
      bank: 0,
      doc: 'Interrupt enable (8.7); bits 7 to 4 are always 0',
      fields: { received: bit(0), transmitterEmpty: bit(1), lineStatus: bit(2), modemStatus: bit(3) },
    }),
    iir: reg(2, {
      access: 'ro',
      reset: 0x01,
      doc: 'Interrupt identification (8.6)',
      fields: { none: bit(0), cause: bits(3, 1), fifos: bits(7, 6) },
    }),
    fcr: reg(2, {
      access: 'wo',
      doc: 'FIFO control (8.5)',
      fields: {
        enable: bit(0),
        resetReceiver: bit(1),
        resetTransmitter: bit(2),
        dmaMode: bit(3),
        trigger: bits(7, 6),
      },
    }),
    lcr: reg(3, {
      access: 'rw',
      doc: 'Line control (8.1)',
      fields: {
        wordLength: bits(1, 0),
        longStop: bit(2),
        parity: bit(3),
        evenParity: bit(4),
        stickParity: bit(5),
        sendBreak: bit(6),
        dlab: bit(7),
      },
    }),
    mcr: reg(4, {
      access: 'rw',
      doc: 'Modem control (8.8); bits 7 to 5 are always 0',
      fields: { dtr: bit(0), rts: bit(1), out1: bit(2), out2: bit(3), loop: bit(4) },
    }),
    lsr: reg(5, {
      access: 'ro',
      reset: 0x60,
      doc: 'Line status (8.4); reading it clears the errors',
      fields: {
        dataReady: bit(0),
        overrun: bit(1, { access: 'rc' }),
        parity: bit(2, { access: 'rc' }),
        framing: bit(3, { access: 'rc' }),
        break: bit(4, { access: 'rc' }),
        holdingEmpty: bit(5),
        transmitterEmpty: bit(6),
        fifoError: bit(7),
      },
    }),
    msr: reg(6, {
      access: 'ro',
      reset: 0xb0,
      doc: 'Modem status (8.9); reading it clears the deltas',
      fields: {
        deltaCts: bit(0, { access: 'rc' }),
        deltaDsr: bit(1, { access: 'rc' }),
        trailingRi: bit(2, { access: 'rc' }),
        deltaDcd: bit(3, { access: 'rc' }),
        cts: bit(4),
        dsr: bit(5),
        ri: bit(6),
        dcd: bit(7),
      },
    }),
    scr: reg(7, { access: 'rw', doc: 'Scratchpad (8.10); the 8250 has none' }),
  },
});

/** Causes of an interrupt as IIR reports them, highest priority first (table IV). */
export const CAUSE = {
  lineStatus: 0x06,
  received: 0x04,
  timeout: 0x0c,
  transmitterEmpty: 0x02,
  modemStatus: 0x00,
  none: 0x01,
} as const;

/** IER bit 1 (8.7). */
export const IER_TRANSMITTER_EMPTY = 0x02;
/** IIR bits 7 and 6 while the FIFOs are on (8.6). */
export const IIR_FIFOS = 0xc0;
/** FCR bit 0 (8.5). */
export const FCR_ENABLE = 0x01;

/** LSR bits (8.4). */
export const LSR = {
  dataReady: 0x01,
  overrun: 0x02,
  parity: 0x04,
  framing: 0x08,
  break: 0x10,
  holdingEmpty: 0x20,
  transmitterEmpty: 0x40,
  fifoError: 0x80,
} as const;
/** Errors that belong to one character and travel through the FIFO with it. */
export const CHARACTER_ERRORS = 0x1c;
/** What raises a receiver line status interrupt. */
export const LINE_ERRORS = 0x1e;

/** MSR bits 7 to 4: the modem's outputs, our inputs (8.9). */
export const MODEM = { cts: 0x10, dsr: 0x20, ri: 0x40, dcd: 0x80 } as const;
export const MODEM_LEVELS = 0xf0;
/** MSR bits 3 to 0: what has changed since the last read. */
export const MODEM_DELTAS = 0x0f;
/** A modem, or a null-modem cable, that is there and ready. */
export const MODEM_READY = MODEM.cts | MODEM.dsr | MODEM.dcd;

/** Bytes in each FIFO (1.0). */
export const FIFO_DEPTH = 16;
/** Bytes that raise a received-data interrupt, by FCR.trigger (8.5). */
export const TRIGGER_LEVELS = [1, 4, 8, 14] as const;
/** Character times without a byte or a read until the FIFO times out (8.11). */
export const TIMEOUT_CHARACTERS = 4;
/** Input clock of a PC's UART, Hz; its baud rate is clock / (16 * divisor) (8.3). */
export const PC_CLOCK_HZ = 1_843_200;
export const CLOCKS_PER_BIT = 16;
