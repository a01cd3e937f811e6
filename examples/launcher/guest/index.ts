import { readFile } from 'node:fs/promises';
import type { FlatGuest, Guest, ScriptGuest } from '@trapline/core';
import { helloScript } from './script.js';

/** The program of hello.S, for a CPU. */
const program: FlatGuest = {
  kind: 'flat',
  address: 0x1000,
  image: () => readFile(new URL('./hello.bin', import.meta.url)),
};

/** The same without a CPU. */
const script: ScriptGuest = { kind: 'script', script: helloScript };

/** The launcher's guest, in every form it has: a backend takes the first it can run. */
export const helloGuest: readonly Guest[] = [program, script];
