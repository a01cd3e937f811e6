// The access streams of a machine in the two forms that backends run: as data, and as a program for a real CPU.
import { readFileSync } from 'node:fs';
import {
  type AccessStream,
  compileStream,
  type FlatGuest,
  STREAM_WORDS,
  StreamCursor,
  type StreamGuest,
  TraplineError,
} from '@trapline/core';

/** Where guest.S is loaded, and where it looks for what it shall play. */
const ENTRY = 0x1000;
const CPUS = 0x3000;
const LISTS = 0x3010;
const FIRST_TABLE = 0x8000;

/** Both forms, for `defineMachine({ guest })`. */
export function streamGuests(streams: readonly AccessStream[]): [StreamGuest, FlatGuest] {
  return [
    { kind: 'stream', streams },
    { kind: 'flat', address: ENTRY, image: () => programOf(streams) },
  ];
}

/** guest.S and the lists it plays, in one image. Random lists are drawn here: the program knows sequences only. */
function programOf(streams: readonly AccessStream[]): Uint8Array {
  const program = readFileSync(new URL('./guest.bin', import.meta.url));
  const lists = streams.map(inSequence);
  const bytes = lists.reduce((sum, { words }) => sum + words.byteLength, 0);
  const image = new Uint8Array(FIRST_TABLE - ENTRY + bytes);
  image.set(program);
  const view = new DataView(image.buffer);
  view.setUint32(CPUS - ENTRY, streams.length, true);
  let at = FIRST_TABLE;
  for (const [vcpu, { words, count }] of lists.entries()) {
    const header = LISTS - ENTRY + 16 * vcpu;
    for (const [i, value] of [at, words.length / STREAM_WORDS, count].entries()) {
      view.setUint32(header + 4 * i, value, true);
    }
    image.set(new Uint8Array(words.buffer, words.byteOffset, words.byteLength), at - ENTRY);
    at += words.byteLength;
  }
  return image;
}

function inSequence(stream: AccessStream): { words: Int32Array; count: number } {
  const { words, random, seed, count } = compileStream(stream);
  if (stream.accesses.some(({ size }) => size === 8)) {
    throw new TraplineError('TL_ACCESS_INVALID', 'the program makes no access of 8 bytes', { who: 'guest' });
  }
  if (!random) return { words, count };
  const cursor = new StreamCursor(words.length / STREAM_WORDS, true, seed);
  const drawn = new Int32Array(count * STREAM_WORDS);
  for (let i = 0; i < count; i++) {
    const from = cursor.next() * STREAM_WORDS;
    drawn.set(words.subarray(from, from + STREAM_WORDS), i * STREAM_WORDS);
  }
  return { words: drawn, count };
}
