// The modem's half of the chip: how MSR follows its inputs. Pure functions over MSR bits.
import { MODEM, MODEM_DELTAS, MODEM_LEVELS } from './spec.js';

/** Modem inputs, as a modem or a null-modem cable drives them. */
export interface ModemInputs {
  readonly cts: boolean;
  readonly dsr: boolean;
  readonly ri: boolean;
  readonly dcd: boolean;
}

/** What MCR drives. */
export interface ModemOutputs {
  readonly dtr: boolean;
  readonly rts: boolean;
  readonly out1: boolean;
  readonly out2: boolean;
}

/** MSR bits 7 to 4 of some inputs. */
export function inputBits({ cts, dsr, ri, dcd }: ModemInputs): number {
  return (cts ? MODEM.cts : 0) | (dsr ? MODEM.dsr : 0) | (ri ? MODEM.ri : 0) | (dcd ? MODEM.dcd : 0);
}

/** The inputs a loopback makes of the outputs (8.8, bit 4). */
export function loopedBack({ dtr, rts, out1, out2 }: ModemOutputs): number {
  return inputBits({ cts: rts, dsr: dtr, ri: out1, dcd: out2 });
}

/**
 * MSR after its inputs became `inputs`: deltas add up until they are read. RI leaves one only where
 * it falls, the other three on every change (8.9).
 */
export function nextStatus(status: number, inputs: number): number {
  const levels = inputs & MODEM_LEVELS;
  const changed = (status ^ levels) & MODEM_LEVELS;
  const counted = changed & ~(levels & MODEM.ri);
  return levels | (status & MODEM_DELTAS) | (counted >>> 4);
}
