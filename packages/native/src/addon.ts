// The addon, loaded when it is first asked for: importing this package works everywhere.
import { existsSync } from 'node:fs';
import { createRequire } from 'node:module';
import { fileURLToPath } from 'node:url';
import { messageOf } from '@trapline/core';

/** Of this file and `addon.cc`: raised together with every change of what is below. */
export const INTERFACE_VERSION = 2;

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

/** Why a vCPU does not go on. */
export interface NativeStop {
  readonly reason: 'halted' | 'triple-fault' | 'power-off' | 'reset' | 'failed';
  readonly message: string;
  /** Hexadecimal: it may have 64 bits. */
  readonly rip: string;
  readonly exitReason: number;
  readonly suberror: number;
}

/** Bits of the argument of a session's `onEvents`. */
export const EVENT = { requestPending: 1, resting: 2, resetDone: 4, stopped: 8 } as const;

/** One machine on KVM, as the addon gives it. After `close` every member is a no-op. */
export interface NativeSession {
  /** The I/O request page. */
  readonly page: ArrayBuffer;
  readonly ram: readonly { readonly base: number; readonly buffer: ArrayBuffer }[];
  take(spinMicroseconds: number): number;
  generation(slot: number): number;
  complete(slot: number, generation: number): boolean;
  arm(): boolean;
  setIrqLine(gsi: number, level: boolean): void;
  signalMsi(addressLow: number, addressHigh: number, data: number): void;
  run(): void;
  /** @returns true if no vCPU executes; otherwise `resting` is announced */
  pause(): boolean;
  resting(): boolean;
  reset(): void;
  resetError(): string;
  stop(): NativeStop | undefined;
  /** The machine keeps the process alive no longer. */
  letExit(): void;
  close(): void;
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
  /** Machines of this process that JavaScript has not let go of; a closed one goes with the garbage. */
  liveSessions(): number;
  openKvm(
    options: {
      readonly device: string;
      readonly memory: number;
      readonly entry: number;
      readonly waitSpinMicroseconds: number;
    },
    onEvents: (events: number) => void,
  ): NativeSession;
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

/** Loads the addon. Never throws; what is missing is said in one line. */
export function loadNative(options: NativeLoadOptions = {}): NativeLoad {
  const path = options.path ?? ADDON;
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
