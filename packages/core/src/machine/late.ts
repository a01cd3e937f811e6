// Parts of a machine that exist once its backend is open; devices are constructed before.
import { Clock, GuestMemory, Msi, type TimerHandle } from '../device/tokens.js';
import { TraplineError } from '../errors.js';
import { RegionMemory } from './memory.js';

/** Where guest memory is, once the backend is open. */
export interface MemoryPort {
  target: GuestMemory | undefined;
}

/** Memory of nobody: what a closed machine's is, too. */
const NO_MEMORY: MemoryPort = { target: new RegionMemory([]) };

/** Guest memory that is connected once the backend is open, for one user of it. */
export class LateMemory extends GuestMemory {
  constructor(private port: MemoryPort) {
    super();
  }

  /** Its user has left the machine: every access is out of bounds, every view empty. */
  end(): void {
    this.port = NO_MEMORY;
  }

  private get now(): GuestMemory {
    const { target } = this.port;
    if (target) return target;
    throw new TraplineError('TL_MEMORY_BOUNDS', 'guest memory was used before the machine was open', {
      fix: 'use it in hooks and handlers, not in the constructor',
    });
  }
  get size(): number {
    return this.now.size;
  }
  override get extents(): readonly { readonly address: number; readonly length: number }[] {
    return this.now.extents;
  }
  read(address: number, length: number): Uint8Array {
    return this.now.read(address, length);
  }
  write(address: number, bytes: Uint8Array): void {
    this.now.write(address, bytes);
  }
  view(address: number, length: number): Uint8Array {
    return this.now.view(address, length);
  }
  commit(address: number, length: number): void {
    this.now.commit(address, length);
  }
  contains(address: number, length: number): boolean {
    return this.now.contains(address, length);
  }
  readU8(address: number): number {
    return this.now.readU8(address);
  }
  readU16(address: number): number {
    return this.now.readU16(address);
  }
  readU32(address: number): number {
    return this.now.readU32(address);
  }
  writeU8(address: number, value: number): void {
    this.now.writeU8(address, value);
  }
  writeU16(address: number, value: number): void {
    this.now.writeU16(address, value);
  }
  writeU32(address: number, value: number): void {
    this.now.writeU32(address, value);
  }
}

/** A clock that is connected once the backend is open: the backend may own time. */
export class LateClock extends Clock {
  target: Clock | undefined;
  now(): number {
    return this.target?.now() ?? 0;
  }
  setTimer(deadline: number, fire: () => void): TimerHandle {
    if (this.target) return this.target.setTimer(deadline, fire);
    throw new TraplineError('TL_TIMER', 'a timer was set before the machine was open', {
      fix: 'set timers in onReset or in handlers, not in the constructor',
    });
  }
}

/** MSIs go to the backend once there is one. */
export class LateMsi extends Msi {
  target: ((address: number, data: number) => void) | undefined;
  send(address: number, data: number): void {
    this.target?.(address, data);
  }
}
