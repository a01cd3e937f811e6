import { Random } from '../device/tokens.js';
import { TraplineError } from '../errors.js';

const MOST = 2 ** 20;

function checkLength(length: number): void {
  if (!Number.isInteger(length) || length < 0 || length > MOST) {
    throw new TraplineError('TL_STATE_VALUE', `${length} is no length of random bytes`, {
      fix: `ask for 0 to ${MOST}`,
    });
  }
}

/** Reproducible numbers (xorshift128): for tests and deterministic machines; not for secrets. */
export class SeededRandom extends Random {
  private readonly s = new Uint32Array(4);

  constructor(seed: number) {
    super();
    // Spread the seed over the state (splitmix32); an all-zero state would stay zero.
    let x = seed >>> 0;
    for (let i = 0; i < 4; i++) {
      x = (x + 0x9e37_79b9) >>> 0;
      let z = x;
      z = Math.imul(z ^ (z >>> 16), 0x21f0_aaad);
      z = Math.imul(z ^ (z >>> 15), 0x735a_2d97);
      this.s[i] = z ^ (z >>> 15);
    }
  }

  u32(): number {
    const s = this.s as Uint32Array & { 0: number; 3: number };
    let t = s[3];
    const first = s[0];
    s.copyWithin(1, 0, 3);
    t ^= t << 11;
    t ^= t >>> 8;
    s[0] = t ^ first ^ (first >>> 19);
    return s[0];
  }

  bytes(length: number): Uint8Array {
    checkLength(length);
    return Uint8Array.from({ length }, () => this.u32() & 0xff);
  }
}

/** The host's cryptographic source, where it has one. */
export class HostRandom extends Random {
  u32(): number {
    const bytes = this.bytes(4);
    return new DataView(bytes.buffer).getUint32(0, true);
  }

  bytes(length: number): Uint8Array {
    checkLength(length);
    const crypto = (globalThis as { crypto?: { getRandomValues(into: Uint8Array): void } }).crypto;
    if (!crypto)
      throw new TraplineError('TL_HOST_RESOURCE', 'this host has no source of randomness', { who: 'random' });
    const result = new Uint8Array(length);
    // getRandomValues takes at most 64 KiB a call.
    for (let at = 0; at < length; at += 65536) crypto.getRandomValues(result.subarray(at, at + 65536));
    return result;
  }
}
