// The guest's side of a device in a test: its regions, typed from their layouts.
import type { AsyncIoHandler, IoHandler } from '../device/handler.js';
import type {
  Access,
  Indexed,
  IndexedEntries,
  LayoutEntries,
  Register,
  RegisterArray,
  RegisterOptions,
} from '../device/layout.js';
import type { FieldValues, Registers } from '../device/register-types.js';

/** Bus accesses to one region, from the guest's side. */
export interface GuestRegion {
  /** @returns unsigned, of `size` bytes (default: the region's register width, or 1) */
  read(offset: number, size?: number): number;
  write(offset: number, size: number, value: number): void;
  /** Like `read`, with no side effect, past the bus. */
  peek(offset: number, size?: number): number;
}

/** Bus accesses to a region that is declared with `defer: true`. */
export interface GuestAsyncRegion {
  /** @returns unsigned, of `size` bytes (default 1), once the handler has answered */
  read(offset: number, size?: number): Promise<number>;
  write(offset: number, size: number, value: number): Promise<void>;
}

type AccessOf<O> = O extends { readonly access: infer A extends Access } ? A : 'rw';

interface Readable<O> {
  /** The guest reads the register, side effects included. */
  read(): number;
  /** The guest reads the register and looks at its fields. */
  fields(): FieldValues<O>;
}
interface Writable<O> {
  /** The guest writes the register: a number, or some of its fields over zero. */
  write(value: number | Partial<FieldValues<O>>): void;
}
interface Peekable {
  /** What a read would give, with no side effect. */
  peek(): number;
}

/** One register from the guest's side; what its access mode forbids is not there. */
export type GuestRegister<O extends RegisterOptions> = Peekable &
  (AccessOf<O> extends 'wo' ? object : Readable<O>) &
  (AccessOf<O> extends 'ro' | 'rc' | 'const' ? object : Writable<O>);

type GuestEntry<E> =
  E extends Register<infer O>
    ? GuestRegister<O>
    : E extends RegisterArray<infer O>
      ? readonly GuestRegister<O>[]
      : E extends Indexed<infer R>
        ? GuestIndexed<R>
        : never;

/** Registers behind an index: each access writes the index first, as a driver does. */
export type GuestIndexed<R extends IndexedEntries> = { readonly [K in keyof R]: GuestEntry<R[K]> };

/** A region of registers from the guest's side. */
export type GuestRegisters<R extends LayoutEntries> = { readonly [K in keyof R]: GuestEntry<R[K]> } & {
  /** The region as plain bus accesses. */
  readonly [REGION]: GuestRegion;
};

/** Key of the plain bus accesses of a register region. */
export const REGION: unique symbol = Symbol.for('trapline.testing.region');

type GuestMember<M> = M extends Registers<infer R> ? GuestRegisters<R> : GuestHandler<M>;
/** A handler whose `read` may return a promise is reached by awaiting. */
type GuestHandler<M> = M extends IoHandler ? GuestRegion : GuestAsyncRegion;
type RegionKeys<T> = { [K in keyof T]: T[K] extends Registers | IoHandler | AsyncIoHandler ? K : never }[keyof T];

/** Everything a guest can reach of a device: `regs.ctrl.write(1)`, or `read`/`write` of a region on the class. */
export type GuestOf<T> = { readonly [K in RegionKeys<T>]: GuestMember<T[K]> } & (T extends IoHandler | AsyncIoHandler
  ? GuestHandler<T>
  : object);
