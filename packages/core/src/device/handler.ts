import type { REGISTERS } from './register-types.js';

/** What serves a region: registers, or a handler. */
export type RegionMember = IoHandler | { readonly [REGISTERS]: unknown };

/** Bytes of one bus access. */
export type AccessSize = 1 | 2 | 4 | 8;

/**
 * What serves a region by hand. `offset` is relative to the region, `size` one the region's `impl`
 * allows (1, 2 or 4 bytes), values are unsigned. Handlers are synchronous: what takes time is
 * accepted, finished later and announced by an interrupt, as in hardware.
 */
export interface IoHandler {
  /** @returns an unsigned number below 2^(8 * size); anything else costs the device its life */
  read(offset: number, size: number): number;
  write(offset: number, size: number, value: number): void;
  /** Like `read`, without any side effect: for tools, and to merge a narrow write into a wide register. */
  peek?(offset: number, size: number): number;
}

/**
 * A handler that waits. Its region is declared with `defer: true`; the machine must run on a
 * backend that can complete a request later.
 */
export interface AsyncIoHandler {
  read(offset: number, size: number): number | Promise<number>;
  write(offset: number, size: number, value: number): void | Promise<void>;
}

/** A handler that takes 64-bit accesses whole; others see them as two 32-bit ones, low half first. */
export interface IoHandler64 extends IoHandler {
  read64(offset: number): bigint;
  write64(offset: number, value: bigint): void;
}

/** Which access sizes a side of a region takes. */
export interface AccessRule {
  /** Smallest size in bytes; 1 if left out. */
  readonly min?: AccessSize;
  /** Largest size in bytes. */
  readonly max?: AccessSize;
  /** May the address be no multiple of the size? `false` if left out. */
  readonly unaligned?: boolean;
}

/** Who serves the accesses of a region natively, without entering the handler: see {@link RegionOptions.serve}. */
export type NativeService = 'constant' | 'latch' | 'doorbell';

/** How a region is declared by `@Pio` and `@Mmio`. */
export interface RegionOptions {
  /** First address, in bytes. Without it the machine must say `at`. */
  readonly base?: number;
  /** Bytes. Left out where the member's register layout knows it. */
  readonly size?: number;
  /**
   * What the guest may do. Other accesses read all ones, writes are dropped; both are reported.
   * Default: 1 to 8 bytes, unaligned too, as on a PC's buses.
   */
  readonly valid?: AccessRule;
  /**
   * What the handler supports; core splits and widens everything else. Default: 1 to 4 bytes,
   * aligned; for a register layout its own width.
   */
  readonly impl?: AccessRule;
  /** Decode only these sizes here: two ranges may overlap if no size is in both (0xCF8 and 0xCF9). */
  readonly widths?: readonly AccessSize[];
  /** The handler returns promises; refused where the backend cannot defer. */
  readonly defer?: boolean;
  /** Host milliseconds a deferred access may take before it reads all ones. Default 5000. */
  readonly deadlineMs?: number;
  /** Let a second vCPU's access start while one is deferred. */
  readonly concurrent?: boolean;
  /**
   * The region means what a {@link constant}, {@link latch} or {@link doorbell} member means, so a
   * backend may serve it without entering JavaScript.
   */
  readonly serve?: NativeService;
}
