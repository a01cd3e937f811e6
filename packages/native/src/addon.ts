// The addon, loaded when it is first asked for: importing this package works everywhere.
import { existsSync } from 'node:fs';
import { createRequire } from 'node:module';
import { fileURLToPath } from 'node:url';
import { type CompiledStream, messageOf, type StreamProgress } from '@trapline/core';

/** Of this file and `addon.cc`: raised together with every change of what is below. */
export const INTERFACE_VERSION = 4;

/** What a look at a KVM device told. */
export interface KvmFacts {
  /** errno of opening it, or 0. */
  readonly openError: number;
  /** Its API version, or minus the errno of asking. */
  readonly apiVersion: number;
  /** The first capability that is needed and absent. */
  readonly missing: string | undefined;
  /** Width of a guest-physical address. */
  readonly physicalBits: number;
}

/** Why a machine does not go on: what its first vCPU to end met. */
export interface NativeStop {
  readonly reason: 'halted' | 'triple-fault' | 'power-off' | 'reset' | 'failed';
  readonly message: string;
  /** Of a real CPU. Hexadecimal: it may have 64 bits. */
  readonly rip?: string;
  readonly exitReason?: number;
  readonly suberror?: number;
  readonly vcpu?: number;
}

/** Bits of the argument of a session's `onEvents`. */
export const EVENT = { resting: 2, resetDone: 4, stopped: 8 } as const;

/** A range for the vCPU threads to serve: `struct Service` of `service_table.h`. */
export interface NativeServiceRange {
  readonly kind: number;
  readonly mmio: boolean;
  readonly base: number;
  readonly size: number;
  readonly widths: number;
  readonly value: number;
  readonly match: number | undefined;
}

/** What every machine has, whatever runs its vCPUs. After `close` every member is a no-op. */
export interface NativeMachine {
  /** The I/O request page and, behind it, the control block of `control_block.h`. */
  readonly page: ArrayBuffer;
  /** The records of `service_table.h`. */
  readonly services: ArrayBuffer;
  /** This machine's number in what the poller takes. */
  readonly number: number;
  /** Claims the pending slots of this machine alone. */
  take(): number;
  /** Wakes a vCPU that sleeps, after its slot was completed. */
  wake(slot: number): void;
  /** @returns its number, or -1 if there is no room */
  addService(service: NativeServiceRange): number;
  removeService(number: number): void;
  /** @returns the value written, or -1 */
  takeKick(number: number): number;
  close(): void;
}

/** The poller of this thread; idle while the thread has no machine. */
export interface NativePoller {
  beginTurn(microseconds: number): void;
  take(): number;
  wait(): number;
  arm(): boolean;
  /** The spin setting in force, in µs. */
  spin(): number;
  /** Fixes it; without an argument it adapts again. */
  fixSpin(microseconds?: number): void;
  onWoken(listener: () => void): void;
}

/** A machine whose vCPUs are threads of the addon. */
export interface NativeSession extends NativeMachine {
  readonly ram: readonly { readonly base: number; readonly buffer: ArrayBuffer }[];
  run(): void;
  /** @returns true if no vCPU executes; otherwise `resting` is announced */
  pause(): boolean;
  resting(): boolean;
  reset(): void;
  resetError(): string;
  stop(): NativeStop | undefined;
  keepAlive(alive: boolean): void;
}

/** One machine on KVM. */
export interface NativeKvm extends NativeSession {
  setIrqLine(gsi: number, level: boolean): void;
  signalMsi(addressLow: number, addressHigh: number, data: number): void;
  /** @returns an eventfd of the session's: each signal is an edge on the line */
  openIrqfd(gsi: number): number;
  closeIrqfd(fd: number): void;
  /** Ends the machine if all vCPUs sleep for ever and none has left the guest since the last call. */
  checkHalted(): void;
}

/** Times in ns. */
export interface NativeLatency {
  readonly count: number;
  readonly p50: number;
  readonly p90: number;
  readonly p99: number;
  readonly max: number;
}

/** A run of pages in a VM's second-stage table; in bytes. */
export interface NativeTranslation {
  readonly guest: number;
  readonly host: number;
  readonly size: number;
  readonly memoryType: number;
}

/** What one range served. */
export interface NativeRangeCounters {
  readonly reads: number;
  readonly writes: number;
  readonly bytesRead: number;
  readonly bytesWritten: number;
}

/** One machine on the simulated hypervisor. What only looks is answered after `close` as well. */
export interface NativeSim extends NativeSession {
  progress(vcpu: number): StreamProgress | undefined;
  violations(): { readonly count: number; readonly lines: readonly string[] };
  recordLatency(on: boolean): void;
  latency(vcpu: number): NativeLatency | undefined;
  resetLatency(): void;
  serveNatively(
    requests: number,
    classes: number,
    ranges: readonly { readonly mmio: boolean; readonly base: number; readonly size: number }[],
    sleeps: boolean,
  ): { readonly served: number; readonly counters: readonly NativeRangeCounters[] };
  /** @param device `struct acrn_mmiodev` @returns 0 or minus an errno */
  assignMmio(device: Uint8Array): number;
  deassignMmio(device: Uint8Array): number;
  translations(user: boolean): NativeTranslation[];
  serviceRead(address: number, size: number): number;
  serviceWrite(address: number, size: number, value: number): void;
  hostRead(address: number, length: number): Uint8Array;
  hostWrite(address: number, bytes: Uint8Array): void;
}

/** What `openSim` is given. */
export interface NativeSimOptions {
  readonly cpus: number;
  readonly memory: number;
  readonly completionPolling: boolean;
  readonly verify: boolean;
  readonly waitSpinMicroseconds: number;
  readonly holdMicroseconds: number;
  readonly streams: readonly CompiledStream[];
}

/** A thread that watches this one, as the addon gives it. After `close` every member is a no-op. */
export interface NativeWatchdog {
  /** Where this thread says what it does, as in core's `WATCH`; detached by `close`. */
  readonly words: ArrayBuffer;
  name(entry: number, text: string): void;
  /** What ran too long since the last call, if anything did. */
  takeExpired(): { readonly who: string; readonly what: string } | undefined;
  close(): void;
}

/** The addon's exports. */
export interface NativeAddon {
  readonly interfaceVersion: number;
  probeKvm(device: string): KvmFacts;
  readonly poller: NativePoller;
  /** Machines of this process that JavaScript has not let go of; a closed one goes with the garbage. */
  liveSessions(): number;
  openKvm(
    options: {
      readonly device: string;
      readonly memory: number;
      readonly cpus: number;
      readonly entry: number;
      readonly waitSpinMicroseconds: number;
    },
    onEvents: (events: number) => void,
  ): NativeKvm;
  openSim(options: NativeSimOptions, onEvents: (events: number) => void): NativeSim;
  /** @param onExpired called on this thread's event loop, hence after what ran too long has returned */
  openWatchdog(
    options: {
      /** In ms; 0 is never. */
      readonly warnAfterMs: number;
      readonly timeoutMs: number;
      /** Descriptor that lines are written to; -1 is none. */
      readonly fd: number;
      readonly exitCode: number | undefined;
      readonly fix: string;
    },
    onExpired: () => void,
  ): NativeWatchdog;
}

/** The addon, or why there is none. */
export type NativeLoad =
  | { readonly addon: NativeAddon }
  | { readonly addon: undefined; readonly reason: string; readonly fix: string };

/** What {@link loadNative} looks at; for tests. */
export interface NativeLoadOptions {
  readonly path?: string;
  readonly platform?: string;
}

// Both src/ and dist/ are beside build/.
const ADDON = fileURLToPath(new URL('../build/trapline_native.node', import.meta.url));
const BUILD_LOG = fileURLToPath(new URL('../build/build.log', import.meta.url));
const loaded = new Map<string, NativeAddon>();

/**
 * Loads the addon. Never throws; what is missing is said in one line. The variable TRAPLINE_NATIVE_ADDON names another
 * file, such as one built for a sanitizer.
 */
export function loadNative(options: NativeLoadOptions = {}): NativeLoad {
  const path = options.path ?? process.env.TRAPLINE_NATIVE_ADDON ?? ADDON;
  const platform = options.platform ?? process.env.TRAPLINE_PLATFORM ?? process.platform;
  if (platform !== 'linux') {
    return {
      addon: undefined,
      reason: `the native addon is for Linux, and this is ${platform}`,
      fix: 'use another backend; everything else works here',
    };
  }
  if (process.arch !== 'x64') {
    return {
      addon: undefined,
      reason: `the native addon is for x86-64, and this is ${process.arch}`,
      fix: 'use another backend; everything else works here',
    };
  }
  const known = loaded.get(path);
  if (known) return { addon: known };
  if (!existsSync(path)) {
    return {
      addon: undefined,
      reason: 'the native addon is not built',
      fix: existsSync(BUILD_LOG)
        ? `it did not compile: see ${BUILD_LOG}`
        : 'install a C++ compiler (Debian: apt install g++) and run npm start again',
    };
  }
  try {
    const addon = createRequire(import.meta.url)(path) as NativeAddon;
    if (addon.interfaceVersion !== INTERFACE_VERSION) {
      return {
        addon: undefined,
        reason: `the native addon has interface ${addon.interfaceVersion}, not ${INTERFACE_VERSION}`,
        fix: 'build it again: run npm start, or node build.mjs in @trapline/native',
      };
    }
    loaded.set(path, addon);
    return { addon };
  } catch (thrown) {
    return {
      addon: undefined,
      reason: `the native addon cannot be loaded: ${messageOf(thrown)}`,
      fix: 'build it again: remove the build folder of @trapline/native and run npm start',
    };
  }
}
