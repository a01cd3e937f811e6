// The registers of Hello, as a data sheet would give them: where they are, what the guest may do with
// them, what they hold after reset. What they do is hello.ts.
import { bit, layout, reg } from '@trapline/core';

/** I/O ports, one byte each. */
export const PORT = layout({
  width: 1,
  regs: {
    id: reg(0x0, { access: 'const', reset: 0x48, doc: "'H'" }),
    text: reg(0x1, { access: 'ro', doc: 'The greeting, one byte per read, then 0' }),
    scratch: reg(0x2, { access: 'rw', doc: 'Keeps what is written' }),
  },
});

/** Memory-mapped registers, four bytes each. */
export const REGS = layout({
  width: 4,
  regs: {
    magic: reg(0x0, { access: 'const', reset: 0x6f6c6c48, doc: "'Hllo'" }),
    add: reg(0x4, { access: 'rw', doc: 'What is written is added to total' }),
    total: reg(0x8, { access: 'ro', doc: 'The sum, modulo 2^32' }),
    status: reg(0xc, { access: 'w1c', fields: { overflow: bit(0, { doc: 'The sum has wrapped; write 1 to clear' }) } }),
    ctrl: reg(0x10, { access: 'rw', fields: { irq: bit(0, { doc: 'Interrupt on overflow' }) } }),
  },
});
