// The KVM backend: vCPUs in the kernel, their accesses through the I/O request page.
import {
  type Backend,
  type BackendCapabilities,
  type BackendConfig,
  type BackendHost,
  type BackendProbe,
  type BackendProvider,
  type FlatGuest,
  type GuestMemory,
  hex,
  type IoreqGroup,
  type Irqfd,
  type MmioDevice,
  messageOf,
  RegionMemory,
  TraplineError,
} from '@trapline/core';
import { EVENT, loadNative, type NativeAddon, type NativeSession, type NativeStop } from './addon.js';
import { NativeSource } from './ioreq-source.js';
import { explainKvm, IRQ_LINES, kvmCapabilities, MAX_MEMORY } from './kvm-probe.js';
import { groupOf } from './poller.js';

/** How {@link kvm} finds and uses the kernel. */
export interface KvmOptions {
  /** Default: `/dev/kvm`. */
  readonly device?: string;
  /**
   * How long a vCPU thread spins for a device's answer before it sleeps, in µs; default 50. None does where there is
   * no CPU left beside the vCPUs for whoever answers.
   */
  readonly waitSpinMicroseconds?: number;
  /**
   * How often a running machine that makes no accesses is checked for having halted for good, in ms; default 1000.
   * Each check interrupts its vCPUs once.
   */
  readonly haltCheckMilliseconds?: number;
}

const NAME = 'kvm';
const DEFAULT_SPIN = 50;
const DEFAULT_HALT_CHECK = 1000;
/** Where a real-mode entry can be: one segment, and the image must leave the interrupt vectors alone. */
const REAL_MODE_END = 0x1_0000;

/** KVM as a backend. Nothing is loaded or opened before `probe` or `open`. */
export function kvm(options: KvmOptions = {}): BackendProvider {
  const device = options.device ?? '/dev/kvm';
  return {
    name: NAME,
    probe: () => look(device).probe,
    async open(config) {
      const { addon, probe } = look(device);
      if (!addon || !probe.available) {
        throw new TraplineError('TL_BACKEND_UNAVAILABLE', probe.reason ?? 'KVM is not available', {
          who: NAME,
          fix: probe.fix,
        });
      }
      return openKvm(addon, device, config, options, probe.capabilities);
    },
  };
}

function look(device: string): { addon: NativeAddon | undefined; probe: BackendProbe } {
  const native = loadNative();
  if (!native.addon) {
    const { reason, fix } = native;
    return { addon: undefined, probe: { available: false, reason, fix, capabilities: kvmCapabilities(36) } };
  }
  const facts = native.addon.probeKvm(device);
  const capabilities = kvmCapabilities(facts.physicalBits);
  const problem = explainKvm(device, facts);
  if (problem) return { addon: native.addon, probe: { available: false, ...problem, capabilities } };
  return { addon: native.addon, probe: { available: true, reason: `${device} works`, capabilities } };
}

async function openKvm(
  addon: NativeAddon,
  device: string,
  config: BackendConfig,
  options: KvmOptions,
  probed: BackendCapabilities,
): Promise<Backend> {
  const { cpus, memory, guest } = config;
  if (cpus > probed.maxVcpus) throw beyond(`${cpus} vCPUs asked for, ${probed.maxVcpus} possible`);
  if (memory > MAX_MEMORY) throw beyond(`${memory} bytes of RAM asked for, ${MAX_MEMORY} possible`);
  if (!Number.isSafeInteger(memory) || memory <= 0 || memory % 4096 !== 0) {
    throw new TraplineError('TL_MEMORY_SIZE', `${memory} bytes of RAM are no multiple of 4 KiB`, { who: NAME });
  }
  if (guest && guest.kind !== 'flat') throw beyond(`a guest of kind ${guest.kind} cannot run on a real CPU`);
  const image = guest ? await loadImage(guest, memory) : undefined;
  // A session speaks before its backend exists only if something is badly wrong; it has nothing to say at rest.
  let backend: KvmBackend | undefined;
  const session = native(
    'TL_BACKEND_UNAVAILABLE',
    () =>
      addon.openKvm(
        {
          device,
          memory,
          vcpus: cpus,
          entry: guest?.address ?? 0,
          waitSpinMicroseconds: options.waitSpinMicroseconds ?? DEFAULT_SPIN,
        },
        (events) => backend?.onEvents(events),
      ),
    'a machine cannot be opened',
  );
  // The same width the probe found, and the memory that is known now.
  const [, lastAddress] = probed.mmioWindows.at(-1) ?? [0, 2 ** 36 - 1];
  backend = new KvmBackend(
    session,
    groupOf(addon),
    kvmCapabilities(Math.log2(lastAddress + 1), memory),
    guest !== undefined,
    options.haltCheckMilliseconds ?? DEFAULT_HALT_CHECK,
  );
  if (guest && image) backend.memory.write(guest.address, image);
  return backend;
}

async function loadImage(guest: FlatGuest, memory: number): Promise<Uint8Array> {
  const { address } = guest;
  if (!Number.isInteger(address) || address < 0 || address >= REAL_MODE_END) {
    throw beyond(`the guest's entry ${hex(address)} is not below ${hex(REAL_MODE_END)}`);
  }
  const image: unknown = await guest.image();
  if (!(image instanceof Uint8Array)) throw beyond(`the guest's image is no Uint8Array`);
  if (address + image.length > Math.min(memory, 3 * 2 ** 30)) {
    throw beyond(`the guest has ${image.length} bytes at ${hex(address)}, and RAM ends at ${hex(memory)}`);
  }
  return image;
}

function beyond(what: string): TraplineError {
  return new TraplineError('TL_BACKEND_CAPABILITY', what, { who: NAME });
}

/** Calls into the addon; its errors come out as ours. */
function native<T>(code: 'TL_BACKEND_UNAVAILABLE' | 'TL_BACKEND_FAILED', call: () => T, what: string): T {
  try {
    return call();
  } catch (thrown) {
    throw new TraplineError(code, `${what}: ${messageOf(thrown)}`, { who: NAME, cause: thrown });
  }
}

interface Pending {
  readonly promise: Promise<void>;
  resolve(): void;
  reject(error: TraplineError): void;
}

function pending(): Pending {
  let resolve: () => void = () => undefined;
  let reject: (error: TraplineError) => void = () => undefined;
  const promise = new Promise<void>((yes, no) => {
    resolve = yes;
    reject = no;
  });
  return { promise, resolve, reject };
}

class KvmBackend implements Backend {
  readonly name = NAME;
  readonly memory: GuestMemory;
  readonly ioreq: NativeSource;
  private readonly ram: RegionMemory;
  private host: BackendHost | undefined;
  private pausing: Pending | undefined;
  private resetting: Pending | undefined;
  private haltCheck: NodeJS.Timeout | undefined;
  private closed = false;

  constructor(
    private readonly session: NativeSession,
    group: IoreqGroup,
    readonly capabilities: BackendCapabilities,
    private readonly hasGuest: boolean,
    private readonly haltCheckMilliseconds: number,
  ) {
    this.ram = new RegionMemory(session.ram.map(({ base, buffer }) => ({ base, bytes: new Uint8Array(buffer) })));
    this.memory = this.ram;
    this.ioreq = new NativeSource(session, group);
  }

  connect(host: BackendHost): void {
    this.host = host;
  }

  setIrqLine(gsi: number, level: boolean): void {
    native('TL_BACKEND_FAILED', () => this.session.setIrqLine(gsi, level), `line ${gsi} cannot be driven`);
  }

  signalMsi(address: number, data: number): void {
    const high = Math.floor(address / 2 ** 32);
    native('TL_BACKEND_FAILED', () => this.session.signalMsi(address >>> 0, high, data >>> 0), 'an MSI was refused');
  }

  irqfd(gsi: number): Irqfd {
    if (this.closed) throw new TraplineError('TL_VM_CLOSED', 'the machine is closed', { who: NAME });
    if (!Number.isInteger(gsi) || gsi < 0 || gsi >= IRQ_LINES) throw beyond(`there is no line ${gsi}`);
    const what = `line ${gsi} cannot be given an eventfd`;
    const fd = native('TL_BACKEND_FAILED', () => this.session.openIrqfd(gsi), what);
    let open = true;
    return {
      fd,
      close: () => {
        // Once: the number may be another eventfd's by now.
        if (open) this.session.closeIrqfd(fd);
        open = false;
      },
    };
  }

  assignMmioDevice(device: MmioDevice): void {
    throw this.noPassthrough(device);
  }
  deassignMmioDevice(device: MmioDevice): void {
    throw this.noPassthrough(device);
  }

  run(): void {
    if (this.closed) throw new TraplineError('TL_VM_CLOSED', 'the machine is closed', { who: NAME });
    if (this.resetting) throw new TraplineError('TL_VM_STATE', 'the machine is being reset', { who: NAME });
    // Whoever runs a machine that is just being paused no longer waits for it to rest.
    this.settlePause();
    // Nothing runs without a guest; the machine waits for close(), as it would on any backend.
    if (!this.hasGuest) {
      this.session.keepAlive(true);
      return;
    }
    this.session.run();
    this.haltCheck ??= setInterval(() => this.session.checkHalted(), this.haltCheckMilliseconds).unref();
  }

  pause(): Promise<void> {
    this.stopHaltCheck();
    if (this.pausing) return this.pausing.promise;
    if (this.closed || this.resetting || this.session.pause()) return Promise.resolve();
    this.pausing = pending();
    return this.pausing.promise;
  }

  letExit(): void {
    this.session.keepAlive(false);
  }

  reset(): Promise<void> {
    if (this.closed) return Promise.reject(new TraplineError('TL_VM_CLOSED', 'the machine is closed', { who: NAME }));
    if (this.resetting) return this.resetting.promise;
    if (!this.session.resting()) {
      return Promise.reject(new TraplineError('TL_VM_STATE', 'a running vCPU cannot be reset', { who: NAME }));
    }
    this.resetting = pending();
    this.session.reset();
    return this.resetting.promise;
  }

  async close(): Promise<void> {
    if (this.closed) return;
    this.closed = true;
    this.stopHaltCheck();
    this.session.close();
    this.ram.close();
    this.settlePause();
    this.resetting?.reject(new TraplineError('TL_VM_CLOSED', 'the machine was closed', { who: NAME }));
    this.resetting = undefined;
  }

  /** Called by the addon on this thread's event loop. */
  onEvents(events: number): void {
    if (events & EVENT.resetDone) this.onReset();
    // An old announcement may arrive after another run and pause: ask.
    if (events & EVENT.resting && this.pausing && this.session.resting()) this.settlePause();
    if (events & EVENT.stopped && !this.closed) {
      const stop = this.session.stop();
      if (stop) this.onStop(stop);
    }
  }

  private onReset(): void {
    const done = this.resetting;
    this.resetting = undefined;
    const error = this.session.resetError();
    if (error === '') done?.resolve();
    else done?.reject(new TraplineError('TL_BACKEND_FAILED', `the vCPUs cannot be reset: ${error}`, { who: NAME }));
  }

  private stopHaltCheck(): void {
    clearInterval(this.haltCheck);
    this.haltCheck = undefined;
  }

  private onStop(stop: NativeStop): void {
    this.stopHaltCheck();
    if (stop.reason === 'reset') {
      this.host?.resetRequested();
      return;
    }
    if (stop.reason !== 'failed') {
      this.host?.stopped(stop.reason);
      return;
    }
    const { vcpu, rip, exitReason, suberror } = stop;
    const error = new TraplineError('TL_BACKEND_FAILED', `${stop.message}, at rip ${rip} of vCPU ${vcpu}`, {
      who: NAME,
      details: { vcpu, rip, exitReason, suberror },
    });
    this.host?.stopped('backend-failed', { error });
  }

  private settlePause(): void {
    const done = this.pausing;
    this.pausing = undefined;
    done?.resolve();
  }

  private noPassthrough(device: MmioDevice): TraplineError {
    return new TraplineError('TL_BACKEND_CAPABILITY', `KVM assigns no MMIO devices: ${device.name}`, {
      who: NAME,
      fix: 'MMIO passthrough is a hypercall of ACRN; use that backend, or an emulated device',
    });
  }
}
