import { type MemoryRegion, RegionMemory } from '../machine/memory.js';

/**
 * Guest memory of a device under test: made when it is first touched, since most devices never do,
 * and it knows which part of it may have been written.
 */
export class DrivenMemory extends RegionMemory {
  /** Everything outside of `[dirtyFrom, dirtyTo)` is still zero. */
  dirtyFrom = Number.POSITIVE_INFINITY;
  dirtyTo = 0;
  private made: { readonly bytes: Uint8Array; readonly memory: RegionMemory } | undefined;

  constructor(private readonly length: number) {
    super([]);
  }

  get isDirty(): boolean {
    return this.dirtyTo > 0;
  }

  /** First address at which two memories differ, or undefined. */
  difference(other: DrivenMemory): number | undefined {
    const from = Math.min(this.dirtyFrom, other.dirtyFrom);
    const to = Math.max(this.dirtyTo, other.dirtyTo);
    if (to <= from) return undefined;
    const a = this.real.bytes;
    const b = other.real.bytes;
    for (let at = from; at < to; at++) if (a[at] !== b[at]) return at;
    return undefined;
  }

  copyFrom(other: DrivenMemory): void {
    const from = Math.min(this.dirtyFrom, other.dirtyFrom);
    const to = Math.max(this.dirtyTo, other.dirtyTo);
    if (to <= from) return;
    this.real.bytes.set(other.real.bytes.subarray(from, to), from);
    this.dirtyFrom = other.dirtyFrom;
    this.dirtyTo = other.dirtyTo;
  }

  override close(): void {
    this.made?.memory.close();
  }
  override get size(): number {
    return this.length;
  }
  override get extents(): readonly { readonly address: number; readonly length: number }[] {
    return [{ address: 0, length: this.length }];
  }
  override contains(address: number, length: number): boolean {
    return this.real.memory.contains(address, length);
  }
  override read(address: number, length: number): Uint8Array {
    return this.real.memory.read(address, length);
  }
  override write(address: number, bytes: Uint8Array): void {
    this.real.memory.write(address, bytes);
    this.touch(address, bytes.length);
  }
  override view(address: number, length: number): Uint8Array {
    const view = this.real.memory.view(address, length);
    // Nobody tells what is written through it.
    this.touch(address, length);
    return view;
  }
  override readU8(address: number): number {
    return this.real.memory.readU8(address);
  }
  override readU16(address: number): number {
    return this.real.memory.readU16(address);
  }
  override readU32(address: number): number {
    return this.real.memory.readU32(address);
  }
  override writeU8(address: number, value: number): void {
    this.real.memory.writeU8(address, value);
    this.touch(address, 1);
  }
  override writeU16(address: number, value: number): void {
    this.real.memory.writeU16(address, value);
    this.touch(address, 2);
  }
  override writeU32(address: number, value: number): void {
    this.real.memory.writeU32(address, value);
    this.touch(address, 4);
  }

  private touch(address: number, length: number): void {
    if (length === 0) return;
    this.dirtyFrom = Math.min(this.dirtyFrom, address);
    this.dirtyTo = Math.max(this.dirtyTo, address + length);
  }

  private get real(): { readonly bytes: Uint8Array; readonly memory: RegionMemory } {
    if (!this.made) {
      const bytes = new Uint8Array(this.length);
      const region: MemoryRegion = { base: 0, bytes };
      this.made = { bytes, memory: new RegionMemory([region]) };
    }
    return this.made;
  }
}
