// One vCPU's stream, access by access, for a CPU that is played in JavaScript.
import type { Space } from './backend.js';
import {
  type CompiledStream,
  compileStream,
  mixRead,
  STREAM_FLAG,
  STREAM_WORD,
  STREAM_WORDS,
  StreamCursor,
  type StreamProgress,
} from './stream.js';

/** Accesses without a gap after which the event loop gets its turn. */
const TURN = 1024;

/** Walks through a stream. `next` fills in the access, `done` takes what came of it. */
export class StreamPlayer {
  /** The player of a vCPU that has not begun. */
  static readonly idle = new StreamPlayer(compileStream({ accesses: [] }));

  space: Space = 'pio';
  write = false;
  /** The access's address and value: int32 halves. */
  addressLow = 0;
  addressHigh = 0;
  size = 1;
  valueLow = 0;
  valueHigh = 0;
  private readonly cursor: StreamCursor;
  private accesses = 0;
  private checksum = 0;
  private lastLow = 0;
  private lastHigh = 0;

  constructor(private readonly stream: CompiledStream) {
    const { words, random, seed } = stream;
    this.cursor = new StreamCursor(words.length / STREAM_WORDS, random, seed);
  }

  get progress(): StreamProgress {
    const { accesses, checksum, lastLow, lastHigh } = this;
    return { accesses, checksum, lastLow, lastHigh };
  }

  /** @returns false at the end of the stream */
  next(): boolean {
    const { words, count } = this.stream;
    if (this.accesses >= count) return false;
    const at = this.cursor.next() * STREAM_WORDS;
    const word = (which: number) => words[at + which] as number;
    const flags = word(STREAM_WORD.flags);
    this.space = flags & STREAM_FLAG.mmio ? 'mmio' : 'pio';
    this.write = (flags & STREAM_FLAG.write) !== 0;
    this.addressLow = word(STREAM_WORD.addressLow);
    this.addressHigh = word(STREAM_WORD.addressHigh);
    this.size = word(STREAM_WORD.size);
    const last = (flags & STREAM_FLAG.last) !== 0;
    // A value has no more bits than its access.
    const mask = this.size < 4 ? 2 ** (8 * this.size) - 1 : -1;
    this.valueLow = (last ? this.lastLow : word(STREAM_WORD.valueLow)) & mask;
    this.valueHigh = this.size < 8 ? 0 : last ? this.lastHigh : word(STREAM_WORD.valueHigh);
    return true;
  }

  /** @param low of the value of a read, with `high`: unsigned */
  done(low: number, high: number): void {
    this.accesses++;
    if (this.write) return;
    this.lastLow = low;
    this.lastHigh = high;
    this.checksum = mixRead(this.checksum, low, high);
  }

  /** How long to wait before the next access, in ms of the host's time; undefined: not at all. */
  rest(): number | undefined {
    const { gapMicroseconds, count } = this.stream;
    if (this.accesses >= count) return undefined;
    if (gapMicroseconds > 0) return gapMicroseconds / 1000;
    return this.accesses % TURN === 0 ? 0 : undefined;
  }
}
