import { Buffer } from 'node:buffer';

const CTRL_A = 0x01;
const LEAVE = 0x78;

/**
 * Finds the terminal's own keys among those for the guest: `Ctrl-A x` leaves, `Ctrl-A Ctrl-A` is one
 * Ctrl-A, Ctrl-A before any other key takes that key with it.
 */
export class EscapeFilter {
  private escaped = false;

  constructor(private readonly leave: () => void) {}

  /** @returns the bytes for the guest */
  filter(chunk: Buffer): Buffer {
    if (!this.escaped && !chunk.includes(CTRL_A)) return chunk;
    const out: number[] = [];
    for (const byte of chunk) {
      if (this.escaped) {
        this.escaped = false;
        if (byte === CTRL_A) out.push(byte);
        else if (byte === LEAVE) this.leave();
      } else if (byte === CTRL_A) this.escaped = true;
      else out.push(byte);
    }
    return Buffer.from(out);
  }
}
