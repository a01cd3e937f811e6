import type { Duplex } from 'node:stream';
import { resourceOption } from '@trapline/core';
import { z } from 'zod';
import { PC_CLOCK_HZ } from './spec.js';

/** Options of the 16550A family. */
export const Uart16550Options = z.object({
  console: resourceOption<Duplex>('console')
    .optional()
    .describe('where its bytes go: stdio(), file(path), unixSocket(path); nowhere if left out'),
  compat: z
    .enum(['8250', '16450', '16550A'])
    .default('16550A')
    .describe('which chip: 16550A; 16450, without FIFOs; 8250, also without scratchpad'),
  timeout: z
    .enum(['exact', 'immediate'])
    .default('exact')
    .describe('when bytes below the trigger level interrupt: after 4 character times of machine time, or at once'),
  clockHz: z
    .number()
    .int()
    .min(1_000)
    .max(1_000_000_000)
    .default(PC_CLOCK_HZ)
    .describe('input clock, Hz; a baud rate is clockHz / (16 * divisor)'),
  handshake: z
    .enum(['none', 'rts'])
    .default('none')
    .describe('rts: input waits while the guest holds RTS low, so that none is lost in the FIFO resets of a boot'),
});
