// The conformance kit over every chip, with what can happen to it from outside.
import { describeDevice } from '@trapline/core/testing';
import { describe } from 'vitest';
import { memoryConsole, Uart16550 } from './index.js';

describeDevice(Uart16550);
describe('8250', () => describeDevice(Uart16550, { compat: '8250' }));
describe('immediate timeout, held by RTS', () => describeDevice(Uart16550, { timeout: 'immediate', handshake: 'rts' }));

describe('on a busy line', () =>
  describeDevice(Uart16550, () => ({ console: memoryConsole() }), {
    arrange: (t) => t.guest.regs.mcr.write({ out2: true }),
    events: {
      'a byte arrives': ({ device }) => device.inject(0x41),
      'a break arrives': ({ device }) => device.inject(0, { break: true, framing: true }),
      'many bytes arrive': ({ device }) => {
        for (let byte = 0; byte < 20; byte++) device.inject(byte, { parity: byte === 7 });
      },
      'the phone rings': ({ device }) => {
        device.setModemInputs({ cts: true, dsr: true, ri: true, dcd: true });
        device.setModemInputs({ cts: true, dsr: true, ri: false, dcd: true });
      },
      'the modem hangs up': ({ device }) => device.setModemInputs({ cts: false, dsr: false, ri: false, dcd: false }),
    },
  }));
