// The registers as a data sheet gives them: data, nothing else.
import { bit, layout, reg } from '@trapline/core';

export const DEVICE_NAME = layout({
  width: 4,
  regs: {
    ctrl: reg(0x0, {
      access: 'rw',
      doc: 'control',
      fields: { enable: bit(0, { doc: 'runs' }), periodic: bit(1, { doc: 'starts again by itself' }) },
    }),
    period: reg(0x4, { access: 'rw', reset: 100, doc: 'ticks until it expires; 0 counts as 1' }),
    status: reg(0x8, {
      access: 'w1c',
      doc: 'what happened; writing 1 clears',
      fields: { expired: bit(0, { doc: 'the line is high while this is set' }) },
    }),
    count: reg(0xc, { access: 'ro', doc: 'how often it expired since reset' }),
  },
});
