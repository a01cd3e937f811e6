import { spawnSync } from 'node:child_process';
import { mkdtempSync, readFileSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { type BackendProvider, defineMachine, simJs, start, use } from '@trapline/core';
import { kvm } from '@trapline/native';
import { describe, expect, it } from 'vitest';
import { helloGuest } from './index.js';
import { StubExit, StubHello, StubUart } from './stub-devices.js';

const INVITATION = 'Type, and the guest echoes; an empty line or Ctrl-D ends.';

/** Plays the guest from its banner to its verdict, and types `typed` once it asks for it. */
async function play(backend: BackendProvider, typed: string, id = 0x48) {
  const machine = defineMachine({
    memory: '1M',
    devices: { com1: use(StubUart), hello: use(StubHello), exit: use(StubExit) },
    guest: helloGuest,
  });
  const vm = await start(machine, {
    backend,
    onComposed: ({ devices }) => {
      const com1 = devices.com1 as StubUart;
      (devices.hello as StubHello).id = id;
      com1.onLine = (line) => {
        // Not at once: the guest must be asleep, and be woken.
        if (line === INVITATION) setTimeout(() => com1.type(typed), 20);
      };
    },
  });
  try {
    const exit = await vm.wait();
    const { text, setUp } = vm.devices.com1;
    return { exit, lines: text.split('\n'), setUp };
  } finally {
    await vm.close();
  }
}

const program = kvm();
const available = (await program.probe()).available;

const forms = [
  { name: 'the hello guest as a script', backend: simJs(), banner: 'Trapline guest: hello from a script', runs: true },
  {
    name: 'kvm: the hello guest as a program',
    backend: program,
    banner: 'Trapline guest: hello from protected mode',
    runs: available,
  },
];

for (const { name, backend, banner, runs } of forms) {
  describe.skipIf(!runs)(name, () => {
    it('passes its checks, echoes and leaves with verdict 0', async () => {
      const { exit, lines } = await play(backend, 'hi there\rsecond\n\r\n');
      expect(lines).toEqual([
        banner,
        'hello-device says: good morning',
        '40 + 2 = 42',
        INVITATION,
        'hi there',
        'second',
        'bye',
        '',
      ]);
      expect(exit).toEqual({ reason: 'exit', code: 0 });
    });

    it('ends at Ctrl-D, also in the middle of a line', async () => {
      const { exit, lines } = await play(backend, 'half\x04');
      expect(lines.slice(-3)).toEqual(['half', 'bye', '']);
      expect(exit.code).toBe(0);
    });

    it('rubs out on backspace and takes CR LF for one line end', async () => {
      const { lines } = await play(backend, '\x7fab\x08c\r\nd\r\n\r\n');
      expect(lines.slice(4)).toEqual(['ab\b \bc', 'd', 'bye', '']);
    });

    it('loses nothing of what is pasted, however long', async () => {
      const long = Array.from({ length: 300 }, (_, n) => `${n}, `).join('');
      const { lines } = await play(backend, `${long}\r${long}\r\r`);
      expect(lines.slice(4, 6)).toEqual([long, long]);
    });

    it('counts and names the checks that fail', async () => {
      const { exit, lines } = await play(backend, '\n', 0x99);
      expect(lines).toContain('check failed: hello-device id');
      expect(exit).toEqual({ reason: 'exit', code: 1 });
    });

    it('sets the UART up as a driver does', async () => {
      const { setUp } = await play(backend, '\x04');
      // 115200 8N1, FIFOs on, DTR RTS OUT2, received-data interrupt.
      expect(setUp).toEqual([
        [3, 0x80],
        [0, 1],
        [1, 0],
        [3, 0x03],
        [2, 0x07],
        [4, 0x0b],
        [1, 0x01],
      ]);
    });
  });
}

describe('hello.bin', () => {
  const assembler = spawnSync('cc', ['-dumpmachine'], { encoding: 'utf8' });
  const canAssemble = assembler.status === 0 && /^x86_64-.*linux/.test(assembler.stdout);

  it.skipIf(!canAssemble)('is what hello.S assembles to', () => {
    const folder = mkdtempSync(join(tmpdir(), 'trapline-test-'));
    try {
      const output = join(folder, 'hello.bin');
      const build = fileURLToPath(new URL('./build.mjs', import.meta.url));
      const result = spawnSync(process.execPath, [build, '--output', output], { encoding: 'utf8' });
      expect(result.stderr).toBe('');
      expect(readFileSync(output)).toEqual(readFileSync(new URL('./hello.bin', import.meta.url)));
    } finally {
      rmSync(folder, { recursive: true });
    }
  });
});
