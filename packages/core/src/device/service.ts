// Regions simple enough that a backend may serve them without entering JavaScript. What they mean is
// defined here; a native implementation is an optimisation of these few lines.
import { hex, TraplineError, textOf } from '../errors.js';
import type { IoHandler, NativeService } from './handler.js';
import { maskOf } from './layout.js';
import { type DevicePart, PartSlot } from './part.js';

/** A member whose region declares `serve`. */
export interface ServedRegion extends IoHandler {
  readonly serves: NativeService;
  /** Bytes. */
  readonly size: 1 | 2 | 4;
  /** A doorbell that rings for this value only. */
  readonly match?: number;
  /** Gives a latch a cell that a backend serves natively; nothing: it keeps its value itself again. */
  bind?(cell: { value: number } | undefined): void;
  /** Rings a doorbell. */
  kick?(value: number): void;
}

/** Reads a part of a little-endian value; bytes past its end are 0. */
function part(value: number, offset: number, size: number): number {
  return offset >= 4 ? 0 : ((value >>> (8 * offset)) & maskOf(size)) >>> 0;
}

class Constant implements ServedRegion {
  readonly serves = 'constant';
  constructor(
    readonly size: 1 | 2 | 4,
    readonly value: number,
  ) {}
  read(offset: number, size: number): number {
    return part(this.value, offset, size);
  }
  write(): void {}
  peek(offset: number, size: number): number {
    return this.read(offset, size);
  }
}

/** A cell that the guest and the device both read and write; saved, restored and reset by the framework. */
export class Latch implements ServedRegion, DevicePart {
  readonly serves = 'latch';
  readonly kind = 'state';
  readonly slot = new PartSlot();
  private own: number;
  private cell: { value: number } | undefined;

  constructor(
    readonly size: 1 | 2 | 4,
    private readonly initial: number,
  ) {
    this.own = initial;
  }

  bind(cell: { value: number } | undefined): void {
    if (!cell) this.own = this.current;
    this.cell = cell;
  }

  private get current(): number {
    return this.cell ? this.cell.value : this.own;
  }
  private set current(value: number) {
    if (this.cell) this.cell.value = value;
    else this.own = value;
  }

  /** Unsigned; bits beyond the size are dropped. */
  get value(): number {
    return this.current;
  }
  set value(value: number) {
    this.current = (value & maskOf(this.size)) >>> 0;
  }

  read(offset: number, size: number): number {
    return part(this.current, offset, size);
  }
  write(offset: number, size: number, value: number): void {
    if (offset >= this.size) return;
    const mask = maskOf(size) << (8 * offset);
    this.value = (this.current & ~mask) | ((value << (8 * offset)) & mask);
  }
  peek(offset: number, size: number): number {
    return this.read(offset, size);
  }

  reset(): void {
    this.current = this.initial;
  }
  save(): number {
    return this.current;
  }
  check(saved: unknown, where: string): () => void {
    if (typeof saved !== 'number' || !Number.isInteger(saved) || saved < 0 || saved > maskOf(this.size)) {
      throw new TraplineError('TL_STATE_INVALID', `a latch cannot hold ${textOf(saved)}`, { who: where });
    }
    return () => {
      this.current = saved;
    };
  }
}

class Doorbell implements ServedRegion {
  readonly serves = 'doorbell';
  constructor(
    readonly size: 1 | 2 | 4,
    private readonly ring: (value: number) => void,
    readonly match: number | undefined,
  ) {}
  read(): number {
    return 0;
  }
  write(offset: number, _size: number, value: number): void {
    // A write into the middle of a doorbell is no kick: an eventfd would not match it either.
    if (offset === 0 && (this.match === undefined || this.match === value)) this.ring(value);
  }
  kick(value: number): void {
    this.ring(value);
  }
  peek(): number {
    return 0;
  }
}

/** A region that always reads `value` and ignores writes. */
export function constant(size: 1 | 2 | 4, value: number): ServedRegion {
  if (value !== (value & maskOf(size)) >>> 0) {
    throw new TraplineError('TL_LAYOUT', `${hex(value)} does not fit ${size} bytes`, { who: 'constant' });
  }
  return new Constant(size, value);
}

/** A region that reads what was last written to it, by the guest or by the device. */
export function latch(size: 1 | 2 | 4, initial = 0): Latch {
  if (initial !== (initial & maskOf(size)) >>> 0) {
    throw new TraplineError('TL_LAYOUT', `${hex(initial)} does not fit ${size} bytes`, { who: 'latch' });
  }
  return new Latch(size, initial);
}

/**
 * A region whose writes are kicks: `ring` gets the value written, reads give 0. A backend may merge equal kicks that
 * come before the first of them is heard, as an eventfd does.
 * @param options `match`: only this value rings; others are ignored, so that a backend may use an ioeventfd
 */
export function doorbell(
  size: 1 | 2 | 4,
  ring: (value: number) => void,
  options: { readonly match?: number } = {},
): ServedRegion {
  const { match } = options;
  if (match !== undefined && match !== (match & maskOf(size)) >>> 0) {
    throw new TraplineError('TL_LAYOUT', `${hex(match)} does not fit ${size} bytes`, { who: 'doorbell' });
  }
  return new Doorbell(size, ring, match);
}

/** Is this a {@link constant}, {@link latch} or {@link doorbell}? */
export function isServed(value: unknown): value is ServedRegion {
  return value instanceof Constant || value instanceof Latch || value instanceof Doorbell;
}
