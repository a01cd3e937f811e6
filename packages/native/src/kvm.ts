// The KVM backend: vCPUs in the kernel, their accesses through the I/O request page.
import {
  type Backend,
  type BackendCapabilities,
  type BackendConfig,
  type BackendProbe,
  type BackendProvider,
  type FlatGuest,
  hex,
  type IoreqGroup,
  type Irqfd,
  type MmioDevice,
  TraplineError,
} from '@trapline/core';
import { loadNative, type NativeAddon, type NativeKvm, type NativeStop } from './addon.js';
import { explainKvm, IRQ_LINES, kvmCapabilities, MAX_MEMORY } from './kvm-probe.js';
import { NativeBackend, native } from './native-backend.js';
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
    NAME,
    'TL_BACKEND_UNAVAILABLE',
    () =>
      addon.openKvm(
        {
          device,
          memory,
          cpus,
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

class KvmBackend extends NativeBackend<NativeKvm> {
  private haltCheck: NodeJS.Timeout | undefined;

  constructor(
    session: NativeKvm,
    group: IoreqGroup,
    capabilities: BackendCapabilities,
    hasGuest: boolean,
    private readonly haltCheckMilliseconds: number,
  ) {
    super(NAME, session, group, capabilities, hasGuest);
  }

  setIrqLine(gsi: number, level: boolean): void {
    native(NAME, 'TL_BACKEND_FAILED', () => this.session.setIrqLine(gsi, level), `line ${gsi} cannot be driven`);
  }

  signalMsi(address: number, data: number): void {
    const high = Math.floor(address / 2 ** 32);
    const signal = () => this.session.signalMsi(address >>> 0, high, data >>> 0);
    native(NAME, 'TL_BACKEND_FAILED', signal, 'an MSI was refused');
  }

  irqfd(gsi: number): Irqfd {
    if (this.closed) throw this.error('TL_VM_CLOSED', 'the machine is closed');
    if (!Number.isInteger(gsi) || gsi < 0 || gsi >= IRQ_LINES) throw beyond(`there is no line ${gsi}`);
    const what = `line ${gsi} cannot be given an eventfd`;
    const fd = native(NAME, 'TL_BACKEND_FAILED', () => this.session.openIrqfd(gsi), what);
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

  override run(): void {
    super.run();
    if (!this.hasGuest) return;
    this.haltCheck ??= setInterval(() => this.session.checkHalted(), this.haltCheckMilliseconds).unref();
  }

  override pause(): Promise<void> {
    this.stopHaltCheck();
    return super.pause();
  }

  override close(): Promise<void> {
    this.stopHaltCheck();
    return super.close();
  }

  private stopHaltCheck(): void {
    clearInterval(this.haltCheck);
    this.haltCheck = undefined;
  }

  protected failure({ message, vcpu, rip, exitReason, suberror }: NativeStop): TraplineError {
    return new TraplineError('TL_BACKEND_FAILED', `${message}, at rip ${rip} of vCPU ${vcpu}`, {
      who: NAME,
      details: { vcpu, rip, exitReason, suberror },
    });
  }

  private noPassthrough(device: MmioDevice): TraplineError {
    return new TraplineError('TL_BACKEND_CAPABILITY', `KVM assigns no MMIO devices: ${device.name}`, {
      who: NAME,
      fix: 'MMIO passthrough is a hypercall of ACRN; use that backend, or an emulated device',
    });
  }
}
