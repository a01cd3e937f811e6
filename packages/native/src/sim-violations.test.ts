import { type AccessStream, type IoreqSource, SLOT_WORDS, STATE, type StreamAccess, WORD } from '@trapline/core';
import { afterEach, describe, expect, it } from 'vitest';
import { loadNative } from './addon.js';
import { type SimBackend, type SimOptions, sim } from './sim.js';

const native = loadNative();
const open: SimBackend[] = [];
/** Long enough for a vCPU thread to get its turn and look at its slot. */
const SCHEDULED = 100;
const delay = (ms: number) => new Promise((resolve) => setTimeout(resolve, ms));

const read: StreamAccess = { space: 'mmio', direction: 'read', address: 0x1000_0000, size: 4 };
const write: StreamAccess = { ...read, direction: 'write', value: 0x1234_5678 };
const pioRead: StreamAccess = { space: 'pio', direction: 'read', address: 0x10, size: 4 };

/** A machine whose page the test serves by hand. */
class Server {
  private constructor(
    readonly backend: SimBackend,
    readonly source: IoreqSource,
    readonly words: Int32Array,
    /** Why the machine failed. */
    readonly stopped: Promise<Error>,
  ) {}

  static async open(stream: AccessStream, options: SimOptions = {}): Promise<Server> {
    const guest = { kind: 'stream', streams: [stream] } as const;
    const backend = await sim(options).open({ cpus: 1, memory: 2 ** 20, guest, log: undefined as never });
    const stopped = new Promise<Error>((resolve) => {
      backend.connect({
        serve: () => {},
        access: () => 0,
        stopped: (_, { error } = {}) => error && resolve(error),
        resetRequested: () => {},
      });
    });
    open.push(backend);
    backend.run();
    return new Server(backend, backend.ioreq, backend.ioreq.page.i32, stopped);
  }

  get state(): number {
    return Atomics.load(this.words, WORD.state);
  }
  set(word: number, value: number) {
    Atomics.store(this.words, word, value);
  }
  async until(state: number) {
    while (this.state !== state) await delay(1);
  }
  /** Claims the next request. @returns its generation */
  async claim(): Promise<number> {
    while (this.source.take() === 0) await delay(1);
    return this.source.generation(0);
  }
  /** Serves one request well, but for what `wrong` does to it. */
  async serve(wrong: () => void = () => {}): Promise<void> {
    const generation = await this.claim();
    wrong();
    expect(this.source.complete(0, generation)).toBe(true);
  }
  /** Until a rule was broken. */
  async lines(count = 1): Promise<readonly string[]> {
    while (this.backend.violations().count < count) await delay(1);
    return this.backend.violations().lines;
  }
}

afterEach(async () => {
  for (const backend of open.splice(0)) await backend.close();
});

const modes = [{ completionPolling: false }, { completionPolling: true }];

describe.skipIf(!native.addon).each(modes)('addon: sim: broken rules (%o)', (mode) => {
  it('finds none in a server that keeps them', async () => {
    const server = await Server.open({ accesses: [read, write, pioRead], count: 30 }, mode);
    for (let n = 0; n < 30; n++) await server.serve(() => server.set(WORD.valueLow, n % 3 === 1 ? 0x1234_5678 : n));
    await server.until(STATE.FREE);
    expect(server.backend.violations()).toEqual({ count: 0, lines: [] });
  });

  it.each<[field: string, word: number, access: StreamAccess]>([
    ['type', WORD.type, read],
    ['completion_polling', WORD.completionPolling, read],
    ['direction', WORD.direction, read],
    ['reserved', WORD.direction + 1, read],
    ['address', WORD.addressLow, read],
    ['address', WORD.addressHigh, read],
    ['size', WORD.sizeLow, read],
    ['the value of a write', WORD.valueLow, write],
    ['the value of a write', WORD.valueHigh, write],
    ["the word behind a port's value", WORD.valueHigh, pioRead],
  ])('sees %s changed (word %i)', async (field, word, access) => {
    const server = await Server.open({ accesses: [access] }, mode);
    await server.serve(() => server.set(word, 77));
    const [line] = await server.lines();
    expect(line).toMatch(new RegExp(`^slot 0: ${field} was changed from 0x[0-9a-f]+ to 0x[0-9a-f]*4d`));
    expect(server.backend.violations().count).toBe(1);
  });

  it.each([2, 15, 24, 32, 35, 63])("sees word %i written, which is nobody's", async (word) => {
    const server = await Server.open({ accesses: [write] }, mode);
    await server.serve(() => server.set(word, 1));
    expect(await server.lines()).toEqual([
      `slot 0: byte ${word * 4}, which nobody writes, was changed from 0x0 to 0x1`,
    ]);
  });

  it('sees kernel_handled set by somebody else', async () => {
    const server = await Server.open({ accesses: [read] }, mode);
    await server.serve(() => server.set(WORD.kernelHandled, 1));
    expect(await server.lines()).toEqual(['slot 0: kernel_handled is 1, set by the server']);
  });

  it('sees a request completed that nobody claimed', async () => {
    const server = await Server.open({ accesses: [read] }, mode);
    await server.until(STATE.PENDING);
    server.set(WORD.state, STATE.COMPLETE);
    const line = 'slot 0: went from PENDING to COMPLETE without having been claimed';
    while (!server.backend.violations().lines.includes(line)) await delay(1);
  });

  it('sees a claim that was not counted', async () => {
    const server = await Server.open({ accesses: [read] }, mode);
    await server.until(STATE.PENDING);
    server.set(WORD.state, STATE.PROCESSING);
    await delay(SCHEDULED);
    expect(server.source.complete(0, server.source.generation(0))).toBe(true);
    expect(await server.lines()).toEqual(['slot 0: was completed, but its generation did not move']);
  });

  it('sees a request that goes back, and is claimed twice', async () => {
    const server = await Server.open({ accesses: [read] }, mode);
    await server.claim();
    await delay(SCHEDULED);
    server.set(WORD.state, STATE.PENDING);
    await delay(SCHEDULED);
    await server.serve();
    expect(await server.lines(2)).toEqual(['slot 0: went from PROCESSING to PENDING', 'slot 0: was claimed 2 times']);
  });

  it('sees a request given up by its server', async () => {
    const server = await Server.open({ accesses: [read] }, mode);
    await server.claim();
    await delay(SCHEDULED);
    server.set(WORD.state, STATE.FREE);
    expect(await server.lines()).toEqual(['slot 0: went from PROCESSING to FREE']);
    // The vCPU still waits; nothing but the end helps it.
    await server.backend.close();
    expect(server.backend.progress(0).accesses).toBe(1);
  });

  it('sees a second completion, and the guest gets #GP', async () => {
    const server = await Server.open({ accesses: [read], count: 5, gapMicroseconds: 200_000 }, mode);
    await server.serve();
    await server.until(STATE.FREE);
    server.set(WORD.state, STATE.COMPLETE);
    expect(await server.lines(2)).toEqual([
      'slot 0: was completed twice: COMPLETE after it was set FREE',
      'slot 0: is not FREE before a request: state 1',
    ]);
    expect(server.backend.progress(0).accesses).toBe(1);
    // RESET_VM sets every slot free.
    await server.backend.pause();
    await server.backend.reset();
    server.backend.run();
    await server.serve();
    await server.serve();
    expect(server.backend.violations().count).toBe(2);
  });

  it('sees a slot leave FREE by itself', async () => {
    const server = await Server.open({ accesses: [read], count: 5, gapMicroseconds: 200_000 }, mode);
    await server.serve();
    await server.until(STATE.FREE);
    server.set(WORD.state, STATE.PROCESSING);
    expect(await server.lines(2)).toEqual([
      'slot 0: left FREE by itself: it is PROCESSING',
      'slot 0: is not FREE before a request: state 2',
    ]);
  });

  it('sees a slot leave COMPLETE by itself', async () => {
    const server = await Server.open({ accesses: [read] }, { ...mode, holdMicroseconds: 500_000 });
    await server.serve();
    await delay(SCHEDULED);
    server.set(WORD.state, STATE.PENDING);
    expect(await server.lines()).toEqual(['slot 0: left COMPLETE by itself: it is PENDING']);
    await server.until(STATE.FREE);
  });

  it('counts all and keeps 64 lines', async () => {
    const server = await Server.open({ accesses: [read], count: 100 }, mode);
    for (let n = 0; n < 100; n++) await server.serve(() => server.set(WORD.sizeLow, 8));
    await server.until(STATE.FREE);
    while (server.backend.violations().count < 100) await delay(1);
    expect(server.backend.violations().lines).toHaveLength(64);
  });

  it('says nothing when told not to look, but still posts into a FREE slot only', async () => {
    const server = await Server.open(
      { accesses: [read], count: 3, gapMicroseconds: 200_000 },
      { ...mode, verify: false },
    );
    await server.serve(() => server.set(WORD.addressLow, 1));
    await server.until(STATE.FREE);
    server.set(WORD.state, STATE.COMPLETE);
    expect((await server.stopped).message).toBe('sim: vCPU 0 got #GP(0): its request slot is in state 1, not FREE');
    expect(server.backend.violations()).toEqual({ count: 0, lines: [] });
    expect(server.backend.progress(0).accesses).toBe(1);
    expect(server.state).toBe(STATE.COMPLETE);
  });
});

describe.skipIf(!native.addon)('addon: sim: broken rules of waking', () => {
  it('sees a vCPU that was not woken', async () => {
    const server = await Server.open({ accesses: [read], count: 2 }, { waitSpinMicroseconds: 0 });
    const generation = await server.claim();
    await delay(SCHEDULED);
    // COMPLETE, and no look at the flag of the sleeper.
    Atomics.compareExchange(server.words, WORD.state, STATE.PROCESSING, STATE.COMPLETE);
    expect(await server.lines()).toEqual(['slot 0: was completed, but its vCPU was not notified']);
    expect(server.source.complete(0, generation)).toBe(false);
    await server.serve();
    expect(server.backend.violations().count).toBe(1);
  });

  it('knows slots by their vCPU', async () => {
    const guest = { kind: 'stream', streams: [{ accesses: [] }, { accesses: [read] }] } as const;
    const backend = await sim().open({ cpus: 2, memory: 2 ** 20, guest, log: undefined as never });
    backend.connect({ serve: () => {}, access: () => 0, stopped: () => {}, resetRequested: () => {} });
    open.push(backend);
    backend.run();
    while (backend.ioreq.take() !== 2) await delay(1);
    backend.ioreq.page.i32[SLOT_WORDS + WORD.direction] = 1;
    backend.ioreq.complete(1, backend.ioreq.generation(1));
    while (backend.violations().count === 0) await delay(1);
    expect(backend.violations().lines).toEqual(['slot 1: direction was changed from 0x0 to 0x1']);
  });
});
