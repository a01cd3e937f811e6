// A hypervisor played in JavaScript: real requests in a real page, a script where the CPU would be.
// It takes the hypervisor's and the driver's part of the protocol: FREE -> PENDING -> PROCESSING ->
// COMPLETE -> FREE.
import type { GuestMemory } from '../device/tokens.js';
import { messageOf, TraplineError } from '../errors.js';
import { DIRECTION, REQUEST, SLOT_WORDS, STATE, WORD } from '../ioreq/layout.js';
import { IoreqPage } from '../ioreq/page.js';
import { hostTime } from '../machine/clock.js';
import { type MemoryRegion, RegionMemory } from '../machine/memory.js';
import type {
  AbortSignalLike,
  Backend,
  BackendCapabilities,
  BackendConfig,
  BackendHost,
  BackendProvider,
  IoreqSource,
  MmioDevice,
  ScriptCpu,
  ScriptGuest,
  Space,
  StreamGuest,
} from './backend.js';
import { type CompiledStream, compileStream, type StreamProgress } from './stream.js';
import { StreamPlayer } from './stream-player.js';

/** What `sim-js` can do: everything a script can ask for. */
export const SIM_JS_CAPABILITIES: BackendCapabilities = {
  architecture: 'any',
  maxVcpus: 16,
  maxMemory: 2 ** 30,
  irqLines: 256,
  msi: true,
  deferral: true,
  ioeventfd: false,
  irqfd: false,
  snapshot: true,
  deterministicClock: false,
  mmioWindows: [[0, Number.MAX_SAFE_INTEGER]],
  guests: ['script', 'stream'],
  splitsMmioReads: false,
};

/** The in-process scripted backend. A machine without a script just waits for `vm.close()`. */
export function simJs(): BackendProvider {
  return {
    name: 'sim-js',
    probe: () => ({
      available: true,
      reason: 'it runs everywhere: the guest is a script',
      capabilities: SIM_JS_CAPABILITIES,
    }),
    open: async (config) => new SimJs(config),
  };
}

/** A scripted backend, opened. */
export class SimJs implements Backend, IoreqSource {
  readonly name = 'sim-js';
  readonly capabilities = SIM_JS_CAPABILITIES;
  readonly memory: RegionMemory;
  readonly page = IoreqPage.create();
  readonly ioreq: IoreqSource = this;
  readonly immediate = true;
  /** One scripted CPU per vCPU; usable whether or not the machine has a script. */
  readonly cpus: readonly SimCpu[];
  /** MMIO devices assigned, by name. */
  readonly assigned = new Map<string, MmioDevice>();
  readonly lines = new Map<number, boolean>();
  private readonly generations = new Int32Array(16);
  private readonly waiting: ((() => void) | undefined)[] = [];
  private readonly stop = new Stop();
  private host: BackendHost | undefined;
  private readonly guest: ScriptGuest | StreamGuest | undefined;
  private readonly streams: readonly CompiledStream[];
  private started = false;
  /** Counts resets: a stream of an earlier life ends without a word. */
  private life = 0;
  private pausing: Promise<void> | undefined;
  private unpause: (() => void) | undefined;

  constructor(config: BackendConfig) {
    this.memory = new RegionMemory(layOut(config.memory));
    this.guest = config.guest?.kind === 'flat' ? undefined : config.guest;
    this.streams = this.guest?.kind === 'stream' ? this.guest.streams.map(compileStream) : [];
    this.cpus = Array.from({ length: config.cpus }, (_, vcpu) => new SimCpu(this, vcpu, this.stop));
  }

  connect(host: BackendHost): void {
    this.host = host;
  }

  // ---- the driver's side of the page ----

  take(): number {
    // Requests are claimed and served as they are made: there is never one to find.
    return 0;
  }
  arm(): boolean {
    return true;
  }
  generation(slot: number): number {
    return this.generations[slot] as number;
  }
  complete(slot: number, generation: number): boolean {
    const at = slot * SLOT_WORDS + WORD.state;
    if (this.generations[slot] !== generation || this.page.i32[at] !== STATE.PROCESSING) return false;
    this.page.i32[at] = STATE.COMPLETE;
    const wake = this.waiting[slot];
    if (wake !== undefined) {
      this.waiting[slot] = undefined;
      wake();
    }
    return true;
  }

  // ---- the hypervisor's side ----

  /** Makes a request in a slot and has it served. @returns false if its completion was deferred */
  request(
    slot: number,
    space: Space,
    write: boolean,
    low: number,
    high: number,
    size: number,
    value: number,
    valueHigh = 0,
  ): boolean {
    const words = this.page.i32;
    const at = slot * SLOT_WORDS;
    if (this.stop.aborted) this.mustBeOpen();
    if (words[at + WORD.state] !== STATE.FREE) {
      throw new TraplineError('TL_VM_STATE', `vCPU ${slot} has a request in flight`, { who: 'sim-js' });
    }
    words[at + WORD.type] = space === 'mmio' ? REQUEST.MMIO : REQUEST.PIO;
    words[at + WORD.direction] = write ? DIRECTION.WRITE : DIRECTION.READ;
    words[at + WORD.addressLow] = low;
    words[at + WORD.addressHigh] = high;
    words[at + WORD.sizeLow] = size;
    words[at + WORD.sizeHigh] = 0;
    words[at + WORD.valueLow] = value;
    if (space === 'mmio') words[at + WORD.valueHigh] = valueHigh;
    words[at + WORD.state] = STATE.PENDING;
    // The driver claims it.
    (this.generations[slot] as number)++;
    words[at + WORD.state] = STATE.PROCESSING;
    (this.host as BackendHost).serve(1 << slot);
    return words[at + WORD.state] === STATE.COMPLETE;
  }

  /** Takes the value of a completed request and sets its slot free. @returns an int32 */
  finish(slot: number): number {
    const at = slot * SLOT_WORDS;
    if (this.stop.aborted) this.mustBeOpen();
    this.page.i32[at + WORD.state] = STATE.FREE;
    return this.page.i32[at + WORD.valueLow] as number;
  }

  /** High half of what an MMIO read gave; before `finish`. An int32. */
  valueHigh(slot: number): number {
    return this.page.i32[slot * SLOT_WORDS + WORD.valueHigh] as number;
  }

  /** Resolves when a slot's deferred request completes. */
  completed(slot: number): Promise<void> {
    // Its handler may have closed the machine.
    if (this.stop.aborted) return Promise.resolve();
    return new Promise((resolve) => {
      this.waiting[slot] = resolve;
    });
  }

  setIrqLine(gsi: number, level: boolean): void {
    this.lines.set(gsi, level);
    if (level) for (const cpu of this.cpus) cpu.interrupt();
  }
  signalMsi(address: number, data: number): void {
    for (const cpu of this.cpus) cpu.message(address, data);
  }
  assignMmioDevice(device: MmioDevice): void {
    this.assigned.set(device.name, device);
  }
  deassignMmioDevice(device: MmioDevice): void {
    this.assigned.delete(device.name);
  }

  run(): void {
    this.unpause?.();
    this.pausing = undefined;
    this.unpause = undefined;
    if (!this.started) this.startGuest();
  }

  /** A script cannot be stopped inside a statement: it stops at its next access. */
  pause(): Promise<void> {
    this.pausing ??= new Promise((resolve) => {
      this.unpause = resolve;
    });
    return Promise.resolve();
  }

  /** What a paused script waits for before its next access. */
  async whenRunning(): Promise<void> {
    while (this.pausing && !this.stop.aborted) await this.pausing;
    this.mustBeOpen();
  }

  /** A script that goes on after the machine was closed ends here, however it loops. */
  mustBeOpen(): void {
    if (this.stop.aborted) throw new TraplineError('TL_VM_CLOSED', 'the machine is closed', { who: 'sim-js' });
  }

  reset(): Promise<void> {
    this.page.free();
    for (const cpu of this.cpus) cpu.reset();
    this.life++;
    // A script goes on where it is, as it always did; a stream starts again.
    if (this.guest?.kind === 'stream') this.started = false;
    return Promise.resolve();
  }

  close(): Promise<void> {
    this.stop.abort();
    this.unpause?.();
    this.page.free();
    for (const [slot, wake] of this.waiting.entries()) {
      this.waiting[slot] = undefined;
      wake?.();
    }
    for (const cpu of this.cpus) cpu.interrupt();
    this.memory.close();
    return Promise.resolve();
  }

  private startGuest(): void {
    this.started = true;
    const { guest, life } = this;
    if (!guest) return;
    const ended = (cpu: SimCpu, thrown: unknown) => {
      if (this.life === life || guest.kind === 'script') this.ended(cpu, thrown);
    };
    for (const cpu of this.cpus) {
      // On its own turn: a script that leaves at once must not end the machine before `start` returns.
      Promise.resolve()
        .then(() =>
          guest.kind === 'script' ? guest.script(cpu) : cpu.play(this.streams[cpu.vcpu], () => this.life === life),
        )
        .then(
          () => ended(cpu, undefined),
          (thrown: unknown) => ended(cpu, thrown),
        );
    }
  }

  private ended(cpu: SimCpu, thrown: unknown): void {
    if (this.stop.aborted) return;
    if (thrown !== undefined) {
      const error = new TraplineError(
        'TL_BACKEND_FAILED',
        `the ${this.guest?.kind} of vCPU ${cpu.vcpu} threw: ${messageOf(thrown)}`,
        {
          who: 'sim-js',
          cause: thrown,
        },
      );
      this.host?.stopped('backend-failed', { error });
    } else {
      cpu.done = true;
      if (this.cpus.every((other) => other.done)) this.host?.stopped('halted');
    }
  }
}

/** One scripted vCPU. */
export class SimCpu implements ScriptCpu {
  done = false;
  private player = StreamPlayer.idle;
  private readonly msis: { readonly address: number; readonly data: number }[] = [];
  private halted: (() => void)[] = [];
  /** A line rose since the last halt ended: an edge is not lost because nobody was asleep for it. */
  private latched = false;

  constructor(
    private readonly sim: SimJs,
    readonly vcpu: number,
    readonly signal: AbortSignalLike,
  ) {}

  get memory(): GuestMemory {
    return this.sim.memory;
  }

  read(space: Space, address: number, size: number): number {
    if (!this.access(space, false, address, size, 0)) throw this.wasDeferred('read');
    return unsigned(this.sim.finish(this.vcpu), size);
  }

  write(space: Space, address: number, size: number, value: number): void {
    if (!this.access(space, true, address, size, value)) throw this.wasDeferred('write');
    this.sim.finish(this.vcpu);
  }

  async readAsync(space: Space, address: number, size: number): Promise<number> {
    await this.sim.whenRunning();
    if (!this.access(space, false, address, size, 0)) await this.sim.completed(this.vcpu);
    return unsigned(this.sim.finish(this.vcpu), size);
  }

  async writeAsync(space: Space, address: number, size: number, value: number): Promise<void> {
    await this.sim.whenRunning();
    if (!this.access(space, true, address, size, value)) await this.sim.completed(this.vcpu);
    this.sim.finish(this.vcpu);
  }

  line(gsi: number): boolean {
    return this.sim.lines.get(gsi) ?? false;
  }

  async halt(): Promise<void> {
    const high = () => [...this.sim.lines.values()].some((level) => level) || this.msis.length > 0;
    if (!high() && !this.latched && !this.signal.aborted) {
      await new Promise<void>((resolve) => {
        this.halted.push(resolve);
      });
    }
    this.latched = false;
    await this.sim.whenRunning();
  }

  async sleep(ms: number): Promise<void> {
    await new Promise<void>((resolve) => {
      const handle = hostTime.setTimeout(done, ms);
      const { signal } = this;
      signal.addEventListener('abort', done);
      if (signal.aborted) done();
      function done(): void {
        hostTime.clearTimeout(handle);
        signal.removeEventListener('abort', done);
        resolve();
      }
    });
    await this.sim.whenRunning();
  }

  takeMsis(): { readonly address: number; readonly data: number }[] {
    return this.msis.splice(0);
  }

  /** What this vCPU has done of its stream since the last reset. */
  get progress(): StreamProgress {
    return this.player.progress;
  }

  /** Makes the accesses of a stream, for as long as `current`. */
  async play(stream: CompiledStream | undefined, current: () => boolean): Promise<void> {
    if (!stream) return;
    this.player = new StreamPlayer(stream);
    const { player, sim, vcpu } = this;
    while (player.next()) {
      await sim.whenRunning();
      if (!current()) return;
      const { space, write, addressLow, addressHigh, size, valueLow, valueHigh } = player;
      if (!sim.request(vcpu, space, write, addressLow, addressHigh, size, valueLow, valueHigh)) {
        await sim.completed(vcpu);
        if (!current()) return;
      }
      const high = size === 8 ? sim.valueHigh(vcpu) : 0;
      player.done(unsigned(sim.finish(vcpu), size), high >>> 0);
      const rest = player.rest();
      if (rest !== undefined) await this.sleep(rest);
    }
  }

  interrupt(): void {
    const halted = this.halted;
    if (halted.length === 0) {
      this.latched = true;
      return;
    }
    this.halted = [];
    for (const wake of halted) wake();
  }

  message(address: number, data: number): void {
    this.msis.push({ address, data });
    this.interrupt();
  }

  reset(): void {
    this.latched = false;
    this.msis.length = 0;
    this.player = StreamPlayer.idle;
  }

  private access(space: Space, write: boolean, address: number, size: number, value: number): boolean {
    if (!(address >= 0 && address <= Number.MAX_SAFE_INTEGER)) {
      throw new TraplineError('TL_ACCESS_INVALID', `${address} is no address`, { who: 'sim-js' });
    }
    const high = address > 0xffff_ffff ? Math.floor(address / 2 ** 32) : 0;
    return this.sim.request(this.vcpu, space, write, address | 0, high, size, value | 0);
  }

  private wasDeferred(what: string): TraplineError {
    this.sim.mustBeOpen();
    return new TraplineError('TL_VM_STATE', `the ${what} was deferred`, {
      who: 'sim-js',
      fix: `await ${what}Async instead`,
    });
  }
}

function unsigned(value: number, size: number): number {
  return size === 1 ? value & 0xff : size === 2 ? value & 0xffff : value >>> 0;
}

/** An abort signal for places that have none. */
class Stop implements AbortSignalLike {
  aborted = false;
  private readonly listeners = new Set<() => void>();
  addEventListener(_type: 'abort', listener: () => void): void {
    this.listeners.add(listener);
  }
  removeEventListener(_type: 'abort', listener: () => void): void {
    this.listeners.delete(listener);
  }
  abort(): void {
    if (this.aborted) return;
    this.aborted = true;
    for (const listener of this.listeners) listener();
  }
}

/** RAM from 0 to 3 GiB, the rest from 4 GiB, as on a PC. */
function layOut(size: number): MemoryRegion[] {
  const low = Math.min(size, 3 * 2 ** 30);
  const regions: MemoryRegion[] = [{ base: 0, bytes: new Uint8Array(low) }];
  if (size > low) regions.push({ base: 2 ** 32, bytes: new Uint8Array(size - low) });
  return regions;
}
