import { GuestMemory } from '../device/tokens.js';
import { hex, TraplineError } from '../errors.js';

/** One stretch of guest RAM. */
export interface MemoryRegion {
  /** Guest-physical address of the first byte. */
  readonly base: number;
  readonly bytes: Uint8Array;
}

interface Span {
  readonly bytes: Uint8Array;
  readonly offset: number;
  readonly length: number;
}

const EMPTY = new Uint8Array(0);

/** Guest memory as a list of regions: every backend whose RAM JavaScript can see uses this. */
export class RegionMemory extends GuestMemory {
  private regions: readonly MemoryRegion[];
  private readonly total: number;

  /**
   * @param regions ascending and disjoint
   * @param onCommit told about every range written, for CPUs that keep translated code
   */
  constructor(
    regions: readonly MemoryRegion[],
    private readonly onCommit?: (address: number, length: number) => void,
  ) {
    super();
    this.regions = regions;
    this.total = regions.reduce((sum, region) => sum + region.bytes.length, 0);
  }

  get size(): number {
    return this.total;
  }

  override get extents(): readonly { readonly address: number; readonly length: number }[] {
    return this.regions.map(({ base, bytes }) => ({ address: base, length: bytes.length }));
  }

  /** From now on every access is out of bounds and every new view empty. */
  close(): void {
    this.regions = [];
  }

  contains(address: number, length: number): boolean {
    return this.spans(address, length) !== undefined;
  }

  read(address: number, length: number): Uint8Array {
    const spans = this.must(address, length);
    const result = new Uint8Array(length);
    let at = 0;
    for (const span of spans) {
      result.set(span.bytes.subarray(span.offset, span.offset + span.length), at);
      at += span.length;
    }
    return result;
  }

  write(address: number, bytes: Uint8Array): void {
    let at = 0;
    for (const span of this.must(address, bytes.length)) {
      span.bytes.set(bytes.subarray(at, at + span.length), span.offset);
      at += span.length;
    }
    this.commit(address, bytes.length);
  }

  view(address: number, length: number): Uint8Array {
    if (this.regions.length === 0) return EMPTY;
    const [span, more] = this.must(address, length);
    if (more) {
      throw new TraplineError('TL_MEMORY_BOUNDS', `a view cannot cross regions: ${hex(address)}, ${length} bytes`, {
        details: { address, length },
      });
    }
    return span ? span.bytes.subarray(span.offset, span.offset + span.length) : EMPTY;
  }

  commit(address: number, length: number): void {
    if (length > 0) this.onCommit?.(address, length);
  }

  readU8(address: number): number {
    return this.little(address, 1);
  }
  readU16(address: number): number {
    return this.little(address, 2);
  }
  readU32(address: number): number {
    return this.little(address, 4);
  }
  writeU8(address: number, value: number): void {
    this.store(address, value, 1);
  }
  writeU16(address: number, value: number): void {
    this.store(address, value, 2);
  }
  writeU32(address: number, value: number): void {
    this.store(address, value, 4);
  }

  private little(address: number, size: number): number {
    let value = 0;
    let shift = 0;
    for (const span of this.must(address, size)) {
      for (let i = 0; i < span.length; i++, shift += 8) value |= (span.bytes[span.offset + i] as number) << shift;
    }
    return value >>> 0;
  }

  private store(address: number, value: number, size: number): void {
    let shift = 0;
    for (const span of this.must(address, size)) {
      for (let i = 0; i < span.length; i++, shift += 8) span.bytes[span.offset + i] = value >>> shift;
    }
    this.commit(address, size);
  }

  private must(address: number, length: number): readonly Span[] {
    const spans = this.spans(address, length);
    if (spans) return spans;
    throw new TraplineError('TL_MEMORY_BOUNDS', `${hex(address)}, ${length} bytes, is not guest memory`, {
      details: { address, length },
    });
  }

  /** The pieces of a range, or undefined if any byte of it is no RAM. Nothing is allocated for the data. */
  private spans(address: number, length: number): Span[] | undefined {
    if (!Number.isSafeInteger(address) || !Number.isSafeInteger(length) || address < 0 || length < 0) return undefined;
    if (length > this.total) return undefined;
    const spans: Span[] = [];
    let at = address;
    let left = length;
    for (const region of this.regions) {
      if (left === 0) break;
      if (at < region.base || at >= region.base + region.bytes.length) continue;
      const offset = at - region.base;
      const take = Math.min(left, region.bytes.length - offset);
      spans.push({ bytes: region.bytes, offset, length: take });
      at += take;
      left -= take;
    }
    return left === 0 ? spans : undefined;
  }
}

const UNITS: Readonly<Record<string, number>> = { '': 1, K: 2 ** 10, M: 2 ** 20, G: 2 ** 30 };

/**
 * Bytes of `128M`, `64K`, `2G` or a number.
 * @throws TraplineError `TL_MEMORY_SIZE` if it is no positive multiple of 4 KiB below 2^53
 */
export function parseMemorySize(size: string | number): number {
  const match = /^(\d+)([KMG]?)$/i.exec(String(size));
  const value = match ? Number(match[1]) * (UNITS[(match[2] ?? '').toUpperCase()] as number) : Number.NaN;
  if (!Number.isSafeInteger(value) || value <= 0 || value % 4096 !== 0) {
    throw new TraplineError('TL_MEMORY_SIZE', `${String(size)} is no memory size`, {
      who: 'memory',
      details: { size },
    });
  }
  return value;
}
