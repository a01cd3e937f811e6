import { bool, Device, fifo, Inbox, IrqLine, Log, Options, Pio, registers, state, timer, u8 } from '@trapline/core';
import type { z } from 'zod';
import { ConsoleLink, type SerialStats } from './console-link.js';
import { inputBits, loopedBack, type ModemInputs, nextStatus } from './modem.js';
import { Uart16550Options } from './options.js';
import {
  CAUSE,
  CHARACTER_ERRORS,
  CLOCKS_PER_BIT,
  FCR_ENABLE,
  FIFO_DEPTH,
  IER_TRANSMITTER_EMPTY,
  IIR_FIFOS,
  LINE_ERRORS,
  LSR,
  MODEM_DELTAS,
  MODEM_READY,
  TIMEOUT_CHARACTERS,
  TRIGGER_LEVELS,
  UART,
} from './spec.js';

/** What went wrong with a received character. */
export interface CharacterErrors {
  readonly parity?: boolean;
  readonly framing?: boolean;
  readonly break?: boolean;
}

/** Bytes that have arrived from the host and wait for room in the guest's FIFO. */
const BACKLOG = 1024;

/**
 * A 16550A, or the 16450 and 8250 before it. Give it a place and a line:
 * `use(Uart16550, { at: pio(0x3f8), irq: 4, console: stdio() })`.
 *
 * A transmitted byte leaves at once, so THRE is low only while the console asks to wait. A received
 * one enters as soon as the FIFO has room. The only time the chip keeps is that of the character timeout.
 */
@Device({ type: 'uart16550', summary: '16550A serial port', options: Uart16550Options })
export class Uart16550 {
  @Pio() readonly regs = registers(UART, {
    rbr: { read: () => this.readByte(), peek: () => this.nextByte() },
    thr: { write: (byte) => this.transmit(byte) },
    ier: { write: (value, old) => this.enableInterrupts(value, old) },
    iir: { read: () => this.identify(), peek: () => this.identification(this.pending()) },
    fcr: { write: (value, old) => this.controlFifos(value, old) },
    mcr: { write: () => this.controlModem() },
    lsr: { read: () => this.readLineStatus(), peek: () => this.lineStatus() },
    msr: { read: () => this.readModemStatus() },
    scr: { read: () => this.scratch(), peek: () => this.scratch() },
  });

  readonly state = state({
    /** The guest's FIFOs; of each, one byte is used while they are off. */
    rx: fifo(FIFO_DEPTH),
    tx: fifo(FIFO_DEPTH),
    /** Errors of the characters behind the first in `rx`; those of the first are in LSR. */
    rxErrors: fifo(FIFO_DEPTH),
    backlog: fifo(BACKLOG),
    /** The guest knows that THR is empty. */
    emptyAcknowledged: bool(),
    timedOut: bool(),
    timeout: timer(() => this.characterTimeout()),
    /** Modem inputs at the pins, as MSR bits. */
    pins: u8(MODEM_READY),
    /** The console asks to wait: bytes stay in `tx`. */
    consoleFull: bool(),
  });

  private readonly link: ConsoleLink;
  private readonly output: (console: 'full' | 'ready') => void;
  private readonly injected: (character: { byte: number; errors: number }) => void;
  private readonly pinsChanged: (pins: number) => void;

  constructor(
    private readonly irq: IrqLine,
    private readonly options: Options<z.output<typeof Uart16550Options>>,
    inbox: Inbox,
    log: Log,
  ) {
    const input = inbox.port('rx', (bytes: Uint8Array) => this.hostInput(bytes));
    this.output = inbox.port('tx', (console) => this.consoleChanged(console === 'full'));
    this.link = new ConsoleLink({ input, output: this.output }, () => BACKLOG - this.state.backlog.length, log);
    this.injected = inbox.port('line', ({ byte, errors }) => {
      this.receive(byte, errors);
      this.received();
    });
    this.pinsChanged = inbox.port('modem', (pins) => {
      this.state.pins = pins;
      this.followModem();
      this.update();
    });
  }

  /** What has gone through its console. */
  get stats(): SerialStats {
    return this.link.stats;
  }

  /**
   * A character arrives on the line, room for it or not: for tests of overrun and line errors.
   * @param byte 0 to 255; a break is a 0 with `break`
   */
  inject(byte: number, { parity, framing, break: broken }: CharacterErrors = {}): void {
    const errors = (parity ? LSR.parity : 0) | (framing ? LSR.framing : 0) | (broken ? LSR.break : 0);
    this.injected({ byte: byte & 0xff, errors });
  }

  /** The modem changes its lines. After a reset CTS, DSR and DCD are high, as on a null-modem cable. */
  setModemInputs(inputs: ModemInputs): void {
    this.pinsChanged(inputBits(inputs));
  }

  onResume(): void {
    this.link.resume(this.options.console);
    this.resynchronize();
  }
  onPause(): void {
    this.link.pause();
  }
  onReset(): void {
    this.link.flow();
  }
  onRestored(): void {
    this.link.flow();
    this.resynchronize();
  }

  // --- receiver ---

  private get fifosOn(): boolean {
    return this.regs.fcr.enable;
  }

  private get depth(): number {
    return this.fifosOn ? FIFO_DEPTH : 1;
  }

  /** Bytes that raise a received-data interrupt; without FIFOs, the first one does. */
  private get triggerLevel(): number {
    return this.fifosOn ? (TRIGGER_LEVELS[this.regs.fcr.trigger] as number) : 1;
  }

  private hostInput(bytes: Uint8Array): void {
    this.link.arrived(bytes.length);
    for (const byte of bytes) if (!this.state.backlog.push(byte)) this.stats.dropped.input++;
    if (this.refill()) this.received();
  }

  /** Takes from the backlog what the FIFO has room for. @returns whether that was anything */
  private refill(): boolean {
    const { rx, backlog } = this.state;
    const { loop, rts } = this.regs.mcr;
    // In loopback the receiver is cut off from its pin (8.8).
    if (loop || (this.options.handshake === 'rts' && !rts)) return false;
    let moved = false;
    for (; rx.length < this.depth && backlog.length > 0; moved = true) this.receive(backlog.shift() as number, 0);
    if (moved) this.link.flow();
    return moved;
  }

  /** Overrun (8.4, bit 1): with FIFOs the new character is lost; without, the old one. */
  private receive(byte: number, errors: number): void {
    const { rx, rxErrors } = this.state;
    if (rx.length >= this.depth) {
      this.regs.lsr.overrun = true;
      if (this.fifosOn) return;
      rx.clear();
    }
    if (rx.length === 0) this.reveal(errors);
    else rxErrors.push(errors);
    rx.push(byte);
  }

  /** An error shows in LSR when its character becomes the next one to be read (8.4). */
  private reveal(errors: number): void {
    this.regs.lsr.value |= errors & CHARACTER_ERRORS;
  }

  private received(): void {
    this.restartTimeout();
    this.update();
  }

  /** An empty receiver reads as the last character: the data sheet leaves it open, chips do that. */
  private nextByte(): number {
    return this.state.rx.peek() ?? this.regs.rbr.value;
  }

  private readByte(): number {
    const { rx, rxErrors } = this.state;
    const byte = this.nextByte();
    this.state.timedOut = false;
    rx.shift();
    if (rx.length > 0) this.reveal(rxErrors.shift() ?? 0);
    this.refill();
    this.received();
    return byte;
  }

  /** The character timeout of FIFO mode (8.11): counts from the last character received or read. */
  private restartTimeout(): void {
    const { rx, timeout, timedOut } = this.state;
    timeout.cancel();
    // Once it interrupts, another character does not take it back: only a read does, or an emptied receiver.
    if (timedOut) return;
    // Never without FIFOs: the trigger level is 1 then.
    const waiting = rx.length > 0 && rx.length < this.triggerLevel;
    this.state.timedOut = waiting && this.options.timeout === 'immediate';
    if (waiting && !this.state.timedOut) timeout.after(TIMEOUT_CHARACTERS * this.characterTime());
  }

  private characterTimeout(): void {
    this.state.timedOut = true;
    this.update();
  }

  /** Milliseconds on the line, from the start bit to the stop bits (8.1, 8.3). */
  private characterTime(): number {
    const { lcr, dll, dlm } = this.regs;
    const longStop = lcr.wordLength === 0 ? 1.5 : 2;
    const bitsPerCharacter = 1 + (5 + lcr.wordLength) + (lcr.parity ? 1 : 0) + (lcr.longStop ? longStop : 1);
    // A divisor of 0 stops the baud generator; to wait for ever would help no guest.
    const divisor = dlm.value * 256 + dll.value || 1;
    return (1000 * bitsPerCharacter * CLOCKS_PER_BIT * divisor) / this.options.clockHz;
  }

  // --- transmitter ---

  /** Writing THR takes the interrupt back; it comes again when THR is empty, which may be at once. */
  private transmit(byte: number): void {
    const { tx } = this.state;
    this.state.emptyAcknowledged = true;
    // Not only at the end: a line that stays high over both would give an edge-triggered guest no edge.
    this.update();
    if (tx.length >= this.depth) this.stats.dropped.output++;
    else tx.push(byte);
    this.shiftOut();
    this.update();
  }

  private shiftOut(): void {
    const { tx } = this.state;
    const { loop } = this.regs.mcr;
    if (tx.length === 0) return;
    while (tx.length > 0 && (loop || !this.state.consoleFull)) {
      const byte = tx.shift() as number;
      // The host's streams carry whole bytes: LCR's word length does not cut them.
      if (loop) this.receive(byte, 0);
      else this.link.send(byte);
    }
    if (loop) this.restartTimeout();
    if (tx.length === 0) this.state.emptyAcknowledged = false;
  }

  private consoleChanged(full: boolean): void {
    this.state.consoleFull = full;
    this.shiftOut();
    this.update();
  }

  /** A saved device may wait for a console that owes it nothing. */
  private resynchronize(): void {
    if (this.state.consoleFull && !this.link.full) this.output('ready');
  }

  /** FCR (8.5). Turning the FIFOs on or off empties both; the reset bits do, and clear themselves. */
  private controlFifos(value: number, old: number): void {
    const { fcr } = this.regs;
    if (this.options.compat !== '16550A') {
      fcr.value = 0;
      return;
    }
    // Bit 0 must be 1 for the other bits to be programmed.
    if ((value & FCR_ENABLE) === 0) fcr.value = old & ~FCR_ENABLE;
    const switched = ((value ^ old) & FCR_ENABLE) !== 0;
    if (switched || fcr.resetReceiver) this.clearReceiver();
    if (switched || fcr.resetTransmitter) this.clearTransmitter();
    fcr.resetReceiver = false;
    fcr.resetTransmitter = false;
    this.refill();
    this.received();
  }

  private clearReceiver(): void {
    this.state.rx.clear();
    this.state.rxErrors.clear();
    this.state.timedOut = false;
    this.regs.lsr.value &= ~CHARACTER_ERRORS;
  }

  private clearTransmitter(): void {
    if (this.state.tx.length > 0) this.state.emptyAcknowledged = false;
    this.state.tx.clear();
  }

  // --- modem ---

  private controlModem(): void {
    this.followModem();
    this.shiftOut();
    if (this.refill()) this.restartTimeout();
    this.update();
  }

  private followModem(): void {
    const { mcr, msr } = this.regs;
    msr.value = nextStatus(msr.value, mcr.loop ? loopedBack(mcr) : this.state.pins);
  }

  /** The framework clears the deltas after this hook; the line must fall with them, not one access later. */
  private readModemStatus(): number {
    const { msr } = this.regs;
    const status = msr.value;
    msr.value &= ~MODEM_DELTAS;
    this.update();
    return status;
  }

  // --- status and interrupts ---

  private lineStatus(): number {
    const { rx, tx, rxErrors } = this.state;
    const errors = this.regs.lsr.value & LINE_ERRORS;
    let inFifo = errors & CHARACTER_ERRORS;
    for (let i = 0; i < rxErrors.length; i++) inFifo |= rxErrors.at(i) as number;
    return (
      errors |
      (rx.length > 0 ? LSR.dataReady : 0) |
      (tx.length === 0 ? LSR.holdingEmpty | LSR.transmitterEmpty : 0) |
      (this.fifosOn && inFifo !== 0 ? LSR.fifoError : 0)
    );
  }

  /** As with MSR: the errors this read clears must not hold the line. */
  private readLineStatus(): number {
    const status = this.lineStatus();
    this.regs.lsr.value &= ~LINE_ERRORS;
    this.update();
    return status;
  }

  /** The cause IIR shows, in order of priority (table IV): computed from state, never stored. */
  private pending(): number {
    const { ier, lsr, msr } = this.regs;
    const { rx, tx, timedOut, emptyAcknowledged } = this.state;
    if (ier.lineStatus && (lsr.value & LINE_ERRORS) !== 0) return CAUSE.lineStatus;
    if (ier.received && rx.length >= this.triggerLevel) return CAUSE.received;
    if (ier.received && timedOut) return CAUSE.timeout;
    if (ier.transmitterEmpty && tx.length === 0 && !emptyAcknowledged) return CAUSE.transmitterEmpty;
    if (ier.modemStatus && (msr.value & MODEM_DELTAS) !== 0) return CAUSE.modemStatus;
    return CAUSE.none;
  }

  private identification(cause: number): number {
    return cause | (this.fifosOn ? IIR_FIFOS : 0);
  }

  /** Reading IIR acknowledges an empty transmitter, if that is the cause it shows (table IV). */
  private identify(): number {
    const cause = this.pending();
    if (cause === CAUSE.transmitterEmpty) {
      this.state.emptyAcknowledged = true;
      this.update();
    }
    return this.identification(cause);
  }

  /** A transmitter that is empty when its interrupt is enabled interrupts at once, acknowledged before or not. */
  private enableInterrupts(value: number, old: number): void {
    if ((value & ~old & IER_TRANSMITTER_EMPTY) !== 0) this.state.emptyAcknowledged = false;
    this.update();
  }

  /** On a PC's board OUT2 gates the interrupt. */
  private update(): void {
    this.irq.set(this.regs.mcr.out2 && this.pending() !== CAUSE.none);
  }

  /** The 8250 has no scratchpad: its offset 7 reads as an open bus. */
  private scratch(): number {
    return this.options.compat === '8250' ? 0xff : this.regs.scr.value;
  }
}
