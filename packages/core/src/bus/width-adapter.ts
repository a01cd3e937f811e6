// Between what the guest does and what a handler supports: widens, narrows, splits, strides and
// swaps. Parts are taken from the lowest address up, so the low half goes first. If a later part
// throws, the earlier part's effect stands and the dispatcher answers all ones.
import type { AccessRule, IoHandler, IoHandler64 } from '../device/handler.js';
import { isStrayPromise } from '../device/stray.js';

/** How a handler's bytes appear on the bus. */
export interface Placement {
  /** Bytes from one register to the next on the bus; the register's own width if undefined. */
  readonly stride: number | undefined;
  readonly endian: 'little' | 'big';
}

/** A handler with everything needed to reach it by any access. */
export class WidthAdapter {
  /** Sizes that go to the handler as they are, if aligned; ORed. */
  readonly direct: number;
  /** Bytes on the bus. */
  readonly size: number;
  /** High half of the last 8-byte read, an int32. */
  high = 0;
  private readonly min: number;
  private readonly max: number;
  private readonly unaligned: boolean;
  private readonly strided: boolean;
  private readonly stride: number;
  private readonly big: boolean;
  private readonly wide: IoHandler64 | undefined;

  /**
   * @param unit bytes of one register: what a stride repeats and big-endian order reverses
   * @param deviceSize bytes of the region as the handler sees it
   */
  constructor(
    readonly handler: IoHandler,
    deviceSize: number,
    private readonly unit: number,
    impl: AccessRule,
    private readonly valid: AccessRule,
    placement: Placement,
  ) {
    this.min = impl.min ?? 1;
    this.max = Math.min(impl.max ?? 4, 4);
    this.unaligned = impl.unaligned ?? false;
    this.stride = placement.stride ?? unit;
    this.strided = this.stride !== unit;
    this.big = placement.endian === 'big';
    this.size = this.strided ? Math.ceil(deviceSize / unit) * this.stride : deviceSize;
    this.wide = !this.strided && !this.big && isWide(handler) ? handler : undefined;
    let direct = 0;
    for (const size of [1, 2, 4]) {
      const fits = size >= this.min && size <= this.max && this.isValid(size, 0);
      if (fits && !this.strided && !this.big) direct |= size;
    }
    this.direct = direct;
  }

  /** May the guest do this at all? */
  isValid(size: number, offset: number): boolean {
    const { min = 1, max = 8, unaligned = true } = this.valid;
    return size >= min && size <= max && (unaligned || offset % size === 0);
  }

  /** @returns low 32 bits as an int32; `high` has the rest of an 8-byte read */
  read(offset: number, size: number): number {
    this.high = 0;
    if (size !== 8) return this.gather(offset, size, false);
    if (this.wide && offset % 8 === 0) {
      const value: unknown = this.wide.read64(offset);
      if (typeof value !== 'bigint' || !fits64(value)) throw new BadValue(value, 8);
      this.high = Number(BigInt.asIntN(32, value >> 32n));
      return Number(BigInt.asIntN(32, value));
    }
    const low = this.gather(offset, 4, false);
    this.high = this.gather(offset + 4, 4, false);
    return low;
  }

  write(offset: number, size: number, low: number, high: number): void {
    if (size !== 8) this.scatter(offset, size, low);
    else if (this.wide && offset % 8 === 0) {
      written(this.wide.write64(offset, (BigInt(high >>> 0) << 32n) | BigInt(low >>> 0)), 8);
    } else {
      this.scatter(offset, 4, low);
      this.scatter(offset + 4, 4, high);
    }
  }

  /** Like `read` with no side effect; undefined where the handler cannot. At most 4 bytes. */
  peek(offset: number, size: number): number | undefined {
    return this.handler.peek ? this.gather(offset, size, true) >>> 0 : undefined;
  }

  private gather(offset: number, size: number, peek: boolean): number {
    let value = 0;
    for (let at = 0; at < size; ) {
      const within = this.strided ? (offset + at) % this.stride : 0;
      if (within >= this.unit) {
        // Between two registers of a stride: nothing drives these bytes.
        at++;
        continue;
      }
      const part = this.partSize(offset + at, within, size - at);
      const bits = this.readPart(this.start(part, within, offset + at), part, peek);
      value |= (bits & lowBytes(part)) << (8 * at);
      at += part;
    }
    return value | 0;
  }

  private scatter(offset: number, size: number, value: number): void {
    for (let at = 0; at < size; ) {
      const within = this.strided ? (offset + at) % this.stride : 0;
      if (within >= this.unit) {
        at++;
        continue;
      }
      const part = this.partSize(offset + at, within, size - at);
      const bits = (value >>> (8 * at)) & lowBytes(part);
      this.writePart(this.start(part, within, offset + at), part, bits);
      at += part;
    }
  }

  /** Largest part that starts here: a power of two the handler's alignment and the unit allow. */
  private partSize(busOffset: number, within: number, left: number): number {
    const device = this.deviceOffset(busOffset, within);
    const unitLeft = this.strided ? this.unit - within : left;
    let size = 4;
    while (size > left || size > unitLeft || size > this.max || !(this.unaligned || device % size === 0)) size >>= 1;
    if (this.big) while (crosses(device, size, this.unit)) size >>= 1;
    // What is widened to the smallest access must be part of one.
    while (size < this.min && crosses(device, size, this.min)) size >>= 1;
    return size;
  }

  private deviceOffset(busOffset: number, within: number): number {
    return this.strided ? Math.floor(busOffset / this.stride) * this.unit + within : busOffset;
  }

  /** Device offset of a part; big-endian registers have their first byte at the far end. */
  private start(size: number, within: number, busOffset: number): number {
    const device = this.deviceOffset(busOffset, within);
    if (!this.big) return device;
    const register = Math.floor(device / this.unit) * this.unit;
    return register + (this.unit - size - (device - register));
  }

  private readPart(offset: number, size: number, peek: boolean): number {
    const call = (at: number, width: number) =>
      checked(peek && this.handler.peek ? this.handler.peek(at, width) : this.handler.read(at, width), width);
    const value = size >= this.min ? call(offset, size) : this.narrow(offset, call);
    return this.big ? swap(value, size) : value;
  }

  /** Reads the whole of a register that only takes wider accesses, and shifts to the part wanted. */
  private narrow(offset: number, call: (at: number, width: number) => number): number {
    const start = Math.floor(offset / this.min) * this.min;
    return call(start, this.min) >>> (8 * (offset - start));
  }

  private writePart(offset: number, size: number, value: number): void {
    const part = this.big ? swap(value, size) : value;
    if (size >= this.min) {
      written(this.handler.write(offset, size, part >>> 0), size);
      return;
    }
    const start = Math.floor(offset / this.min) * this.min;
    const shift = 8 * (offset - start);
    const old = this.handler.peek ? this.handler.peek(start, this.min) : 0;
    const mask = lowBytes(size) << shift;
    written(this.handler.write(start, this.min, ((old & ~mask) | ((part << shift) & mask)) >>> 0), this.min);
  }
}

function crosses(offset: number, size: number, block: number): boolean {
  return Math.floor(offset / block) !== Math.floor((offset + size - 1) / block);
}

function isWide(handler: IoHandler): handler is IoHandler64 {
  const candidate = handler as Partial<IoHandler64>;
  return typeof candidate.read64 === 'function' && typeof candidate.write64 === 'function';
}

function lowBytes(size: number): number {
  return size >= 4 ? -1 : (1 << (8 * size)) - 1;
}

function swap(value: number, size: number): number {
  if (size === 1) return value & 0xff;
  if (size === 2) return ((value & 0xff) << 8) | ((value >>> 8) & 0xff);
  return ((value & 0xff) << 24) | ((value & 0xff00) << 8) | ((value >>> 8) & 0xff00) | (value >>> 24);
}

/** A handler's value must fit its access; the int32 form of an unsigned one passes. */
export function fitsAccess(value: unknown, size: number): value is number {
  const v = value as number;
  if (size === 4) return (v | 0) === v || v >>> 0 === v;
  return (v & lowBytes(size)) === v;
}

function fits64(value: bigint): boolean {
  return value === BigInt.asUintN(64, value) || value === BigInt.asIntN(64, value);
}

/** A handler's `write` returns nothing; a promise would mean that it has not written yet. */
function written(result: unknown, size: number): void {
  if (isStrayPromise(result)) throw new BadValue(result, size, 'write');
}

function checked(value: number, size: number): number {
  if (!fitsAccess(value, size)) throw new BadValue(value, size);
  return value;
}

/** Thrown for a value that does not fit; the dispatcher turns it into the device's failure. */
export class BadValue extends Error {
  constructor(
    readonly value: unknown,
    readonly size: number,
    access: 'read' | 'write' = 'read',
  ) {
    super(`returned ${describeValue(value)} to a ${access} of ${size} byte${size === 1 ? '' : 's'}`);
  }
}

function describeValue(value: unknown): string {
  if (isStrayPromise(value)) return 'a promise';
  if (typeof value === 'string') return `'${value.slice(0, 32)}'`;
  return typeof value === 'object' && value !== null ? 'an object' : String(value);
}
