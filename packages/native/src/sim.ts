// The simulated hypervisor as a backend: vCPU threads that run streams of accesses, and check whoever serves them.
import { constants } from 'node:os';
import {
  type Backend,
  type BackendCapabilities,
  type BackendConfig,
  type BackendProvider,
  compileStream,
  hex,
  type MmioDevice,
  type StreamProgress,
  TraplineError,
} from '@trapline/core';
import {
  loadNative,
  type NativeAddon,
  type NativeLatency,
  type NativeRangeCounters,
  type NativeSim,
  type NativeStop,
  type NativeTranslation,
} from './addon.js';
import { MAX_MEMORY } from './kvm-probe.js';
import { encodeMmioDevice } from './mmio-device.js';
import { NativeBackend, native } from './native-backend.js';
import { groupOf } from './poller.js';

/** How {@link sim} plays the hypervisor. */
export interface SimOptions {
  /** vCPUs spin until their request is complete and are never woken, as those of a real-time VM. Default: false. */
  readonly completionPolling?: boolean;
  /** Check every request against the protocol: see {@link SimBackend.violations}. Default: true. */
  readonly verify?: boolean;
  /** Record how long accesses take: see {@link SimBackend.latency}. Default: false. */
  readonly latency?: boolean;
  /** How long a vCPU thread spins for its answer before it sleeps, in µs; default 50. See `kvm`. */
  readonly waitSpinMicroseconds?: number;
  /** With `verify`: how long a vCPU leaves a completed request in its slot, in µs; default 0. */
  readonly holdMicroseconds?: number;
  /** Told of every machine that is opened: the way to what only this backend has. */
  readonly onOpen?: (backend: SimBackend) => void;
}

/** A range of the C++ server: see {@link SimBackend.serveNatively}. */
export interface SimRange {
  readonly space: 'pio' | 'mmio';
  readonly base: number;
  readonly size: number;
}

const NAME = 'sim';
const DEFAULT_SPIN = 50;
const GIB = 2 ** 30;
/** MSIs remembered. */
const MOST_MSIS = 4096;

/**
 * What `sim` can do.
 * @param memory guest RAM in bytes, which does not trap; 0 while it is not known, or where nothing runs
 */
export function simCapabilities(memory = 0): BackendCapabilities {
  const low = Math.min(memory, 3 * GIB);
  return {
    architecture: 'any',
    maxVcpus: 16,
    maxMemory: MAX_MEMORY,
    irqLines: 256,
    msi: true,
    deferral: true,
    ioeventfd: false,
    irqfd: false,
    snapshot: false,
    deterministicClock: false,
    mmioWindows:
      memory > low
        ? [
            [low, 4 * GIB - 1],
            [4 * GIB + memory - low, Number.MAX_SAFE_INTEGER],
          ]
        : [[low, Number.MAX_SAFE_INTEGER]],
    guests: ['stream'],
    splitsMmioReads: false,
  };
}

/** `sim` as a provider: what it opens is known to be a {@link SimBackend}. */
export interface SimProvider extends BackendProvider {
  open(config: BackendConfig): Promise<SimBackend>;
}

/** The simulated hypervisor. Nothing is loaded or opened before `probe` or `open`. */
export function sim(options: SimOptions = {}): SimProvider {
  return {
    name: NAME,
    probe: () => {
      const { addon, ...why } = loadNative();
      const capabilities = simCapabilities();
      if (!addon) return { available: false, ...why, capabilities };
      return { available: true, reason: 'it needs no hardware: the guest is a stream of accesses', capabilities };
    },
    async open(config) {
      const load = loadNative();
      if (!load.addon) throw new TraplineError('TL_BACKEND_UNAVAILABLE', load.reason, { who: NAME, fix: load.fix });
      const backend = openSim(load.addon, config, options);
      options.onOpen?.(backend);
      return backend;
    },
  };
}

function openSim(addon: NativeAddon, { cpus, memory, guest }: BackendConfig, options: SimOptions): SimBackend {
  const beyond = (what: string) => new TraplineError('TL_BACKEND_CAPABILITY', what, { who: NAME });
  if (cpus > 16) throw beyond(`${cpus} vCPUs asked for, 16 possible`);
  if (memory > MAX_MEMORY) throw beyond(`${memory} bytes of RAM asked for, ${MAX_MEMORY} possible`);
  if (!Number.isSafeInteger(memory) || memory <= 0 || memory % 4096 !== 0) {
    throw new TraplineError('TL_MEMORY_SIZE', `${memory} bytes of RAM are no multiple of 4 KiB`, { who: NAME });
  }
  if (guest && guest.kind !== 'stream') throw beyond(`a guest of kind ${guest.kind} needs a CPU; this one has streams`);
  const streams = (guest?.streams ?? []).slice(0, cpus).map(compileStream);
  let backend: SimBackend | undefined;
  const session = native(
    NAME,
    'TL_BACKEND_UNAVAILABLE',
    () =>
      addon.openSim(
        {
          cpus,
          memory,
          completionPolling: options.completionPolling ?? false,
          verify: options.verify ?? true,
          waitSpinMicroseconds: options.waitSpinMicroseconds ?? DEFAULT_SPIN,
          holdMicroseconds: options.holdMicroseconds ?? 0,
          streams,
        },
        (events) => backend?.onEvents(events),
      ),
    'a machine cannot be opened',
  );
  backend = new SimBackend(NAME, session, groupOf(addon), simCapabilities(guest ? memory : 0), guest !== undefined);
  if (options.latency) session.recordLatency(true);
  return backend;
}

/** One machine on the simulated hypervisor. What only looks is answered after `close`, too. */
export class SimBackend extends NativeBackend<NativeSim> implements Backend {
  /** Interrupt lines that were ever driven. */
  readonly lines = new Map<number, boolean>();
  private readonly messages: { readonly address: number; readonly data: number }[] = [];

  setIrqLine(gsi: number, level: boolean): void {
    this.lines.set(gsi, level);
  }

  signalMsi(address: number, data: number): void {
    if (this.messages.length === MOST_MSIS) this.messages.shift();
    this.messages.push({ address, data });
  }

  /** MSIs received since the last call, oldest first; of very many the latest. */
  takeMsis(): { readonly address: number; readonly data: number }[] {
    return this.messages.splice(0);
  }

  /** What a vCPU has done of its stream since the last reset. */
  progress(vcpu: number): StreamProgress {
    return this.known(vcpu, this.session.progress(vcpu));
  }

  /** Rules of the request protocol that the server of the page broke: all are counted, the first 64 in words. */
  violations(): { readonly count: number; readonly lines: readonly string[] } {
    return this.session.violations();
  }

  /** From here on, or no longer, times of accesses are recorded. */
  recordLatency(on: boolean): void {
    this.session.recordLatency(on);
  }

  /** How long a vCPU's recorded accesses took, in ns. */
  latency(vcpu: number): NativeLatency {
    return this.known(vcpu, this.session.latency(vcpu));
  }

  /** What was recorded so far counts no longer. */
  resetLatency(): void {
    this.session.resetLatency();
  }

  /**
   * Serves requests by C++ handlers on this thread, which does nothing else meanwhile: what a benchmark compares
   * plugins with. Ends early when the guest has ended, or asks for nothing for a second.
   * @param classes how many different classes the handlers of the ranges have, in turn: 1 to 16
   * @param options `sleeps`: on an eventfd while there is nothing to do, instead of spinning
   */
  serveNatively(
    requests: number,
    classes: number,
    ranges: readonly SimRange[],
    options: { readonly sleeps?: boolean } = {},
  ): { readonly served: number; readonly counters: readonly NativeRangeCounters[] } {
    const given = ranges.map(({ space, base, size }) => ({ mmio: space === 'mmio', base, size }));
    return native(
      NAME,
      'TL_BACKEND_FAILED',
      () => this.session.serveNatively(requests, classes, given, options.sleeps ?? false),
      'requests cannot be served',
    );
  }

  assignMmioDevice(device: MmioDevice): void {
    this.hypercall('assigned', device, this.session.assignMmio(encodeMmioDevice(device)));
  }

  deassignMmioDevice(device: MmioDevice): void {
    this.hypercall('de-assigned', device, this.session.deassignMmio(encodeMmioDevice(device)));
  }

  /** A VM's second-stage table: the User VM's, or the Service VM's, whose guest addresses are host addresses. */
  translations(of: 'user' | 'service'): readonly NativeTranslation[] {
    return this.session.translations(of === 'user');
  }

  /** An access of the Service VM; all ones where its table maps nothing. */
  serviceRead(address: number, size: number): number {
    return this.session.serviceRead(address, size);
  }
  serviceWrite(address: number, size: number, value: number): void {
    this.session.serviceWrite(address, size, value);
  }

  /** Host-physical memory, whoever it belongs to; zero where it was never written. */
  readonly hostMemory = {
    read: (address: number, length: number): Uint8Array => this.session.hostRead(address, length),
    write: (address: number, bytes: Uint8Array): void => this.session.hostWrite(address, bytes),
  };

  protected failure({ message }: NativeStop): TraplineError {
    return this.error('TL_BACKEND_FAILED', message);
  }

  private known<T>(vcpu: number, found: T | undefined): T {
    if (found === undefined) throw new TraplineError('TL_USAGE', `there is no vCPU ${vcpu}`, { who: NAME });
    return found;
  }

  private hypercall(what: string, device: MmioDevice, result: number): void {
    if (result === 0) return;
    const errno = -result;
    const name = Object.entries(constants.errno).find(([, number]) => number === errno)?.[0] ?? `errno ${errno}`;
    const regions = device.resources.map(
      ({ guest, host, size, memoryType }) =>
        `guest ${hex(guest)}, host ${hex(host)}, size ${hex(size)}, type ${hex(memoryType)}`,
    );
    throw new TraplineError('TL_BACKEND_FAILED', `${device.name} cannot be ${what}: ${name} (${regions.join('; ')})`, {
      who: NAME,
      fix: 'assign before the first run or after a reset, de-assign also while paused; align everything to 4 KiB',
      details: { errno, device },
    });
  }
}
