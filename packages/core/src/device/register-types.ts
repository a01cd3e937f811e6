// The types `registers()` derives from a layout: what the device sees, and what it may hook.

import type {
  Access,
  Field,
  Fields,
  Indexed,
  IndexedEntries,
  Layout,
  LayoutEntries,
  Register,
  RegisterArray,
  RegisterOptions,
} from './layout.js';
import type { RegisterBlock } from './register-block.js';

/** Where a registers object keeps its machinery; a symbol, so that every register name stays free. */
export const REGISTERS: unique symbol = Symbol.for('trapline.registers');

/** The fields of a register's options. */
export type FieldsOf<O> = O extends { readonly fields: infer F extends Fields } ? F : Record<never, Field>;
type FieldValueOf<F> = F extends Field<infer V, Access | undefined> ? V : never;
type FixedAccess = 'const' | 'reserved';
type AccessOf<O> = O extends { readonly access: infer A } ? A : 'rw';
// A field without an access mode is inferred as one with any, or none: either way its register decides.
type FieldAccess<F, O> =
  F extends Field<boolean | number | string, infer A> ? (undefined extends A ? AccessOf<O> : A) : never;
type WritableFields<O> = {
  [K in keyof FieldsOf<O>]: FieldAccess<FieldsOf<O>[K], O> extends FixedAccess ? never : K;
}[keyof FieldsOf<O>];
type FixedFields<O> = Exclude<keyof FieldsOf<O>, WritableFields<O>>;

/** The values of all fields of a register: booleans, numbers and names. */
export type FieldValues<O> = { -readonly [K in keyof FieldsOf<O>]: FieldValueOf<FieldsOf<O>[K]> };

/** One register as its device sees it: access modes bind the guest, not the device; `const` binds both. */
export type RegisterView<O extends RegisterOptions = RegisterOptions> = (AccessOf<O> extends FixedAccess
  ? { readonly value: number }
  : {
      /** The whole register, unsigned; bits beyond its width are dropped. */
      value: number;
    }) & { -readonly [K in WritableFields<O>]: FieldValueOf<FieldsOf<O>[K]> } & {
  readonly [K in FixedFields<O>]: FieldValueOf<FieldsOf<O>[K]>;
};

type ViewOf<E> =
  E extends Register<infer O>
    ? RegisterView<O>
    : E extends RegisterArray<infer O>
      ? readonly RegisterView<O>[]
      : E extends Indexed<infer R>
        ? IndexedView<R>
        : never;

/** An indexed bank as its device sees it. */
export type IndexedView<R extends IndexedEntries> = { readonly index: { value: number } } & {
  readonly [K in keyof R]: ViewOf<R[K]>;
};

/** The registers of a device, by name. Made by `registers()`. */
export type Registers<R extends LayoutEntries = LayoutEntries> = {
  readonly [K in keyof R]: ViewOf<R[K]>;
} & {
  readonly [REGISTERS]: RegisterBlock;
  /** Type only: the layout it was made from. */
  readonly [LAYOUT]?: Layout<R>;
};
declare const LAYOUT: unique symbol;

/** What a device may do when the guest touches a register. */
export interface RegisterHooks {
  /** After the access mode has merged and stored the value. Both unsigned, of the whole register. */
  write?(value: number, old: number): void;
  /** Before the guest reads: the result replaces the stored value. */
  read?(): number;
  /** What a read would give, with no side effect; the stored value if left out. */
  peek?(): number;
}

/** Hooks of a register array; `element` counts from 0. */
export interface ArrayHooks {
  write?(value: number, old: number, element: number): void;
  read?(element: number): number;
  peek?(element: number): number;
}

/** The hooks a layout allows, by register name. */
export type HooksOf<R> = {
  readonly [K in keyof R]?: R[K] extends Register
    ? RegisterHooks
    : R[K] extends RegisterArray
      ? ArrayHooks
      : R[K] extends Indexed<infer I>
        ? HooksOf<I> & { readonly index?: RegisterHooks }
        : never;
};
