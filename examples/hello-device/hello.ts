import { Device, IrqLine, Mmio, Options, Pio, registers, state, u16 } from '@trapline/core';
import { z } from 'zod';
import { PORT, REGS } from './spec.js';

/** One schema is type, default, check and help text of the options. */
export const HelloOptions = z.object({
  greeting: z.string().max(1000).default('TypeScript answers this read.').describe('what the text port says'),
});

/** A device that says hello, adds numbers and interrupts when the sum wraps. */
@Device({ type: 'hello', summary: 'says hello and adds numbers', irq: 10, options: HelloOptions })
export class Hello {
  // A region is a member. Its registers come from the layout; only what has an effect needs a hook.
  @Pio({ base: 0x2a0 }) readonly port = registers(PORT, {
    text: { read: () => this.nextLetter(), peek: () => this.letter() },
  });

  @Mmio({ base: 0xd000_0000 }) readonly regs = registers(REGS, {
    add: { write: (value) => this.add(value) },
    status: { write: () => this.updateIrq() },
    ctrl: { write: () => this.updateIrq() },
  });

  // Whatever else the guest can notice. The framework saves, restores and resets it with the registers.
  readonly state = state({ position: u16() });

  private readonly greeting: Uint8Array;

  // Parameters are injected by their type: here the interrupt line, and the options above.
  constructor(
    private readonly irq: IrqLine,
    options: Options<z.output<typeof HelloOptions>>,
  ) {
    this.greeting = new TextEncoder().encode(options.greeting);
  }

  /** The byte the guest reads next: 0 behind the last one. */
  private letter(): number {
    return this.greeting[this.state.position] ?? 0;
  }

  private nextLetter(): number {
    const letter = this.letter();
    const atEnd = this.state.position >= this.greeting.length;
    this.state.position = atEnd ? 0 : this.state.position + 1;
    return letter;
  }

  private add(value: number): void {
    const sum = this.regs.total.value + value;
    // A register keeps its 32 bits of this and drops the rest, as hardware would.
    this.regs.total.value = sum;
    if (sum > 0xffff_ffff) this.regs.status.overflow = true;
    this.updateIrq();
  }

  /** A line is a level: high as long as there is a reason. */
  private updateIrq(): void {
    this.irq.set(this.regs.ctrl.irq && this.regs.status.overflow);
  }
}
