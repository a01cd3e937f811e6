// Accesses as data: what a vCPU asks for, one after the other, without a program. The same streams run on every
// simulated hypervisor, here and native, and on a real CPU by a small interpreter.
import { TraplineError } from '../errors.js';
import type { Space } from './backend.js';

/** One access of a stream. */
export interface StreamAccess {
  readonly space: Space;
  readonly direction: 'read' | 'write';
  /** Port or guest-physical address, an integer below 2^53. */
  readonly address: number;
  /** 1, 2, 4, and for MMIO also 8 bytes. */
  readonly size: number;
  /** Unsigned, for a write: up to 32 bits; `'last'` writes what this vCPU read last. */
  readonly value?: number | 'last';
}

/** The accesses of one vCPU. */
export interface AccessStream {
  readonly accesses: readonly StreamAccess[];
  /** In turn, or any of them each time. Default: `sequence`. */
  readonly order?: 'sequence' | 'random';
  /** For `random`; not 0. The same seed gives the same accesses on every backend. Default 1. */
  readonly seed?: number;
  /** How many accesses are made in all; the list starts again at its end. Default: each once. */
  readonly count?: number;
  /** Host time between two accesses, in µs. Default 0. */
  readonly gapMicroseconds?: number;
}

/** One access in a compiled stream, in 32-bit words. */
export const STREAM_WORDS = 6;
export const STREAM_WORD = { flags: 0, size: 1, addressLow: 2, addressHigh: 3, valueLow: 4, valueHigh: 5 } as const;
export const STREAM_FLAG = { write: 1, mmio: 2, last: 4 } as const;

/** A stream as every interpreter of it reads it. */
export interface CompiledStream {
  /** `STREAM_WORDS` words for each access of the list. */
  readonly words: Int32Array;
  readonly random: boolean;
  /** An unsigned 32-bit number that is not 0. */
  readonly seed: number;
  readonly count: number;
  readonly gapMicroseconds: number;
}

/** Checks a stream and puts it into words. @throws TraplineError `TL_ACCESS_INVALID` */
export function compileStream(stream: AccessStream): CompiledStream {
  const { accesses, order = 'sequence', seed = 1, gapMicroseconds = 0 } = stream;
  const count = stream.count ?? accesses.length;
  const refuse = (what: string) => new TraplineError('TL_ACCESS_INVALID', what, { who: 'guest' });
  if (!Number.isSafeInteger(count) || count < 0 || (count > 0 && accesses.length === 0)) {
    throw refuse(`a stream of ${accesses.length} accesses cannot make ${count}`);
  }
  if (seed >>> 0 === 0) throw refuse(`the seed of a stream is an integer that is not 0, not ${seed}`);
  if (!(gapMicroseconds >= 0)) throw refuse(`a stream waits 0 µs or more between accesses, not ${gapMicroseconds}`);
  const words = new Int32Array(accesses.length * STREAM_WORDS);
  for (const [i, { space, direction, address, size, value = 0 }] of accesses.entries()) {
    const at = i * STREAM_WORDS;
    if (!Number.isSafeInteger(address) || address < 0) throw refuse(`${address} is no address`);
    if (![1, 2, 4, 8].includes(size) || (size === 8 && space === 'pio')) throw refuse(`no access has ${size} bytes`);
    const write = direction === 'write' ? STREAM_FLAG.write : 0;
    const mmio = space === 'mmio' ? STREAM_FLAG.mmio : 0;
    words[at + STREAM_WORD.flags] = write | mmio | (value === 'last' ? STREAM_FLAG.last : 0);
    words[at + STREAM_WORD.size] = size;
    words[at + STREAM_WORD.addressLow] = address | 0;
    words[at + STREAM_WORD.addressHigh] = Math.floor(address / 2 ** 32);
    words[at + STREAM_WORD.valueLow] = value === 'last' ? 0 : value | 0;
  }
  return { words, random: order === 'random', seed: seed >>> 0, count, gapMicroseconds };
}

/** What a vCPU has done of its stream since its last reset; all numbers unsigned. */
export interface StreamProgress {
  readonly accesses: number;
  /** Of every value read, in order: 32 bits. See {@link mixRead}. */
  readonly checksum: number;
  /** What was read last. */
  readonly lastLow: number;
  readonly lastHigh: number;
}

const PRIME = 0x0100_0193;

/** The checksum after a read of these 64 bits, as every interpreter of streams computes it. */
export function mixRead(checksum: number, low: number, high: number): number {
  return Math.imul(Math.imul(checksum ^ low, PRIME) ^ high, PRIME) >>> 0;
}

/** Which access of a list comes next: xorshift32 for `random`, so that every interpreter draws the same. */
export class StreamCursor {
  private state: number;
  private at = -1;
  constructor(
    private readonly length: number,
    private readonly random: boolean,
    seed: number,
  ) {
    this.state = seed;
  }
  next(): number {
    if (!this.random) {
      this.at = this.at + 1 < this.length ? this.at + 1 : 0;
      return this.at;
    }
    let x = this.state;
    x ^= x << 13;
    x ^= x >>> 17;
    x ^= x << 5;
    this.state = x >>> 0;
    return this.state % this.length;
  }
}
