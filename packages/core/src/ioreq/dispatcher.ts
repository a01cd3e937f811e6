import type { Space } from '../backend/backend.js';
import type { MmioMap } from '../bus/mmio-map.js';
import type { PioTable } from '../bus/pio-table.js';
import { BadValue, fitsAccess } from '../bus/width-adapter.js';
import { isStrayPromise } from '../device/stray.js';
import { isA, messageOf, TraplineError } from '../errors.js';
import type { ClientRange, IoreqClient } from './client.js';
import type { DefaultClient } from './default-client.js';
import { accessKind, HandlerMarks, WATCH } from './handler-watch.js';
import { DIRECTION, REQUEST, SLOT_WORDS, WORD } from './layout.js';
import type { IoreqPage } from './page.js';
import { COUNTER, RangeSet, RECORD } from './range-set.js';
import { type TraceFilter, type TraceRecord, type TraceSink, traceMatches } from './trace.js';

/** What the dispatcher tells the machine. Nothing here may throw. */
export interface DispatcherHost {
  /** Gives a served slot back to the backend. */
  complete(slot: number, generation: number): void;
  generation(slot: number): number;
  /** A device has failed; it was detached from service already. */
  failed(client: IoreqClient, error: TraplineError): void;
  /** An access begins in a range and leaves it. */
  straddle(range: ClientRange, space: Space, write: boolean, address: number, size: number): void;
  /** Starts a deferred access; it calls `settle` later, or at once. */
  defer(request: DeferredRequest): void;
  /** Host time in ms, monotonic, for sampled service times. */
  now(): number;
  /** Levels of a client's lines, for traces. */
  lines(client: IoreqClient): Readonly<Record<string, boolean>>;
}

/** An access whose handler may answer later. */
export interface DeferredRequest {
  readonly slot: number;
  readonly generation: number;
  readonly range: ClientRange;
  readonly write: boolean;
  readonly offset: number;
  readonly address: number;
  readonly size: number;
  /** Low 32 bits, unsigned, for a write. */
  readonly value: number;
  /** The rest of an 8-byte write, an int32. */
  readonly valueHigh: number;
}

const WORDS = RECORD.words;
const DOUBLES = WORDS / 2;

/**
 * Takes claimed slots, finds the client whose range holds the whole access, calls its handler, and
 * gives the slot back. Never throws, whatever the guest or a plugin does; allocates nothing on the
 * direct path.
 */
export class Dispatcher {
  readonly set: RangeSet;
  /** Every n-th access is timed; 0 times none. A power of two. */
  sampleEvery = 0;
  /** High half of the last read, an int32. */
  high = 0;
  /** Accesses served, all clients together. */
  served = 0;
  private traces: { readonly filter: TraceFilter; readonly sink: TraceSink }[] = [];

  constructor(
    /** The page requests are read from; replaced when a backend with its own is connected. */
    public page: IoreqPage,
    private readonly fallback: DefaultClient,
    private readonly host: DispatcherHost,
    /** Told of every call of a handler. */
    readonly marks: HandlerMarks = new HandlerMarks(),
  ) {
    this.set = new RangeSet((entry, owner) => marks.name(entry, owner));
  }

  /** Serves each slot of a bitmap; all but deferred ones are complete when it returns. */
  serve(claimed: number): void {
    for (let left = claimed; left !== 0; left &= left - 1) this.serveSlot(31 - Math.clz32(left & -left));
  }

  private serveSlot(slot: number): void {
    const words = this.page.i32;
    const at = slot * SLOT_WORDS;
    const type = words[at + WORD.type] as number;
    const write = words[at + WORD.direction] === DIRECTION.WRITE;
    const size = words[at + WORD.sizeHigh] === 0 ? (words[at + WORD.sizeLow] as number) : 0;
    const mmio = type === REQUEST.MMIO;
    if (!mmio && type !== REQUEST.PIO) {
      this.serveUnrouted(slot, at, type, write, size);
      return;
    }
    const low = words[at + WORD.addressLow] as number;
    const high = words[at + WORD.addressHigh] as number;
    const valueLow = words[at + WORD.valueLow] as number;
    const valueHigh = mmio ? (words[at + WORD.valueHigh] as number) : 0;
    const value = this.access(slot, mmio, write, low, high, size, valueLow, valueHigh, true);
    if (this.deferring) {
      this.deferring = false;
      return;
    }
    if (!write) {
      words[at + WORD.valueLow] = value;
      if (mmio) words[at + WORD.valueHigh] = this.high;
    }
    this.host.complete(slot, this.host.generation(slot));
  }

  /** Set by `access` when the request was taken over by the host. */
  private deferring = false;

  /**
   * One access, with or without a slot.
   * @param low low 32 bits of the address; @param high bits 32 and up; both int32
   * @param valueLow value of a write, in two int32 halves
   * @returns low 32 bits of a read as an int32, `this.high` the rest; 0 for a write
   */
  access(
    vcpu: number,
    mmio: boolean,
    write: boolean,
    low: number,
    high: number,
    size: number,
    valueLow: number,
    valueHigh: number,
    canDefer: boolean,
  ): number {
    this.served++;
    this.high = 0;
    const entry = this.lookup(mmio, low, high, size);
    if (entry === 0) return this.unclaimed(vcpu, mmio, write, low, high, size, valueLow);
    const { set } = this;
    const record = entry * WORDS;
    const offset = (low - (set.u32[record + RECORD.baseLow] as number)) >>> 0;
    if (
      offset + size - 1 > (set.u32[record + RECORD.sizeMinus1] as number) ||
      (set.overlapping && this.leaves(entry, mmio, low, high, size))
    ) {
      return this.straddles(entry, vcpu, mmio, write, low, high, size, valueLow);
    }
    const f64 = set.f64;
    const counters = entry * DOUBLES;
    if (write) {
      (f64[counters + COUNTER.writes] as number)++;
      (f64[counters + COUNTER.bytesWritten] as number) += size;
    } else {
      (f64[counters + COUNTER.reads] as number)++;
      (f64[counters + COUNTER.bytesRead] as number) += size;
    }
    const direct = ((set.u32[record + RECORD.direct] as number) & size) !== 0 && (offset & (size - 1)) === 0;
    const { words } = this.marks;
    const sequence = words[WATCH.sequence] as number;
    // Odd: inside a handler, which must stay seen.
    const plain = direct && (sequence & 1) === 0;
    if (!plain || (this.sampleEvery !== 0 && (this.served & (this.sampleEvery - 1)) === 0)) {
      return this.accessSlowly(entry, vcpu, mmio, write, low, high, offset, size, valueLow, valueHigh, canDefer);
    }
    const handler = set.handlers[set.u32[record + RECORD.handler] as number] as {
      read(o: number, s: number): number;
      write(o: number, s: number, v: number): unknown;
    };
    // What `marks.enter` does and `marks.leave` will do, without two calls that cost more than the stores.
    words[WATCH.entry] = entry;
    words[WATCH.addressLow] = low;
    words[WATCH.addressHigh] = high;
    words[WATCH.kind] = accessKind(vcpu, mmio, write, size);
    words[WATCH.sequence] = sequence + 1;
    try {
      if (write) {
        const result = handler.write(
          offset,
          size,
          size === 4 ? valueLow >>> 0 : valueLow & (size === 1 ? 0xff : 0xffff),
        );
        if (result === undefined || !isStrayPromise(result)) {
          words[WATCH.sequence] = sequence + 2;
          return 0;
        }
        throw new BadValue(result, size, 'write');
      }
      const value = handler.read(offset, size);
      if (fitsAccess(value, size)) {
        words[WATCH.sequence] = sequence + 2;
        return value | 0;
      }
      throw new BadValue(value, size);
    } catch (thrown) {
      words[WATCH.sequence] = sequence + 2;
      const range = set.ranges[entry - 1];
      // A handler may have detached its own device: then there is nobody left to fail.
      if (range?.adapter.handler !== handler) this.ones();
      else this.fail(range, thrown, write, offset, size);
      return write ? 0 : -1;
    }
  }

  /** Starts tracing; ranges that can match leave the direct path. @returns stops it */
  traceOn(filter: TraceFilter, sink: TraceSink): () => void {
    const trace = { filter, sink };
    this.traces.push(trace);
    this.retrace();
    return () => {
      this.traces = this.traces.filter((other) => other !== trace);
      this.retrace();
    };
  }

  /** Takes a failed or detached client out of service: reads give all ones, writes are dropped. */
  disable(client: IoreqClient, error: TraplineError): void {
    if (client.failure) return;
    client.failure = error;
    this.set.setDirect((range) => range.client === client, false);
    this.host.failed(client, error);
  }

  /** Entry + 1 of the range that decodes the first byte at this size, or 0. */
  private lookup(mmio: boolean, low: number, high: number, size: number): number {
    // log2 of the size, -1 for what is no bus cycle.
    const log = size === 1 ? 0 : size === 2 ? 1 : size === 4 ? 2 : size === 8 ? 3 : -1;
    if (mmio) {
      // 2^53 and above, and what wraps, is nobody's: it must not be rounded to someone's.
      if (log < 0 || high >>> 0 >= 0x20_0000) return 0;
      return (this.set.mmio[log] as MmioMap).lookup(low, high);
    }
    if (log < 0 || log > 2 || high !== 0 || low >>> 0 > 0xffff) return 0;
    return (this.set.pio[log] as PioTable).lookup(low);
  }

  /** Is a byte under another range than the first one? Only dynamic ranges can do that, in the middle too. */
  private leaves(entry: number, mmio: boolean, low: number, high: number, size: number): boolean {
    for (let i = 1; i < size; i++) {
      const at = (low >>> 0) + i;
      const carry = at > 0xffff_ffff ? 1 : 0;
      if (this.lookup(mmio, at | 0, high + carry, size) !== entry) return true;
    }
    return false;
  }

  /** Everything but the direct path: failed and traced devices, adapters, deferral, sampling. */
  private accessSlowly(
    entry: number,
    vcpu: number,
    mmio: boolean,
    write: boolean,
    low: number,
    high: number,
    offset: number,
    size: number,
    valueLow: number,
    valueHigh: number,
    canDefer: boolean,
  ): number {
    const range = this.set.range(entry);
    const { client, adapter } = range;
    // A kick that came before this access was heard by the device before it.
    client.drain?.(client);
    const refused = client.failure !== undefined || !this.allowed(range, write, offset, size);
    // Also an access to another region of a device that is busy waits for its turn.
    if (!refused && canDefer && (range.deferred || client.busy)) {
      const address = (high >>> 0) * 2 ** 32 + (low >>> 0);
      const value = size >= 4 ? valueLow >>> 0 : valueLow & (2 ** (8 * size) - 1);
      const generation = this.host.generation(vcpu);
      this.host.defer({ slot: vcpu, generation, range, write, offset, address, size, value, valueHigh });
      // Set last: completing it may have let the vCPU make its next request already.
      this.deferring = true;
      return 0;
    }
    const started = this.sampleEvery === 0 ? 0 : this.host.now();
    const { marks } = this;
    const frame = marks.enter(entry, low, high, accessKind(vcpu, mmio, write, size));
    let value = 0;
    try {
      if (refused) value = this.ones();
      else if (write) adapter.write(offset, size, valueLow, valueHigh);
      else {
        value = adapter.read(offset, size);
        this.high = adapter.high;
      }
      marks.leave(frame);
    } catch (thrown) {
      marks.leave(frame);
      value = this.fail(range, thrown, write, offset, size);
    }
    if (this.sampleEvery !== 0) this.sample(entry, this.host.now() - started);
    if (this.traces.length > 0) {
      const shown = write ? valueLow : value;
      this.trace(range, vcpu, mmio, write, low, high, size, shown, write ? valueHigh : this.high);
    }
    return write ? 0 : value;
  }

  /** May the guest do this to this region? If not, it is the guest's error. */
  private allowed(range: ClientRange, write: boolean, offset: number, size: number): boolean {
    if (range.adapter.isValid(size, offset)) return true;
    const what = `${write ? 'write' : 'read'} of ${size} bytes at offset 0x${offset.toString(16)}`;
    range.client.guestError(`${what} of ${range.owner} is not allowed`);
    return false;
  }

  /** Marks a call of the handler of a request that waited. @returns its frame, for `marks.leave` */
  enter({ slot, range, write, address, size }: DeferredRequest): number {
    const kind = accessKind(slot, range.space === 'mmio', write, size);
    // Its range may be gone meanwhile, and the entry another's.
    const device = this.marks.numberOf(range.client.name);
    return this.marks.enter(device, address | 0, Math.floor(address / 2 ** 32), kind);
  }

  /** Records a settled deferred access: counters were counted when it began. */
  traceDeferred(request: DeferredRequest, value: number): void {
    if (this.traces.length === 0) return;
    const { range, address, size, write, slot } = request;
    this.trace(range, slot, range.space === 'mmio', write, address | 0, Math.floor(address / 2 ** 32), size, value, 0);
  }

  /** The error of a handler costs its device, never the machine. */
  failure(range: ClientRange, thrown: unknown, write: boolean, offset: number, size: number): TraplineError {
    const where = `${write ? 'write' : 'read'} of ${size} at offset 0x${offset.toString(16)}${range.region ? ` of ${range.region}` : ''}`;
    const who = range.client.name;
    if (isA(thrown, BadValue)) {
      return new TraplineError('TL_DEVICE_VALUE', `${where}: ${thrown.message}`, {
        who,
        details: { offset, size, value: thrown.value },
      });
    }
    const fix = isA(thrown, TraplineError) && thrown.code === 'TL_DEVICE_VALUE' ? thrown.fix : undefined;
    const code = fix === undefined ? 'TL_DEVICE_HANDLER' : 'TL_DEVICE_VALUE';
    const verb = fix === undefined ? 'threw ' : '';
    return new TraplineError(code, `${where}: ${verb}${messageOf(thrown)}`, {
      who,
      fix,
      cause: thrown,
      details: { offset, size },
    });
  }

  private fail(range: ClientRange, thrown: unknown, write: boolean, offset: number, size: number): number {
    this.disable(range.client, this.failure(range, thrown, write, offset, size));
    return this.ones();
  }

  private ones(): number {
    this.high = -1;
    return -1;
  }

  private sample(entry: number, ms: number): void {
    const at = entry * DOUBLES;
    (this.set.f64[at + COUNTER.samples] as number)++;
    (this.set.f64[at + COUNTER.sampledMs] as number) += ms;
  }

  private straddles(
    entry: number,
    vcpu: number,
    mmio: boolean,
    write: boolean,
    low: number,
    high: number,
    size: number,
    value: number,
  ): number {
    const range = this.set.range(entry);
    this.host.straddle(range, range.space, write, (high >>> 0) * 2 ** 32 + (low >>> 0), size);
    return this.unclaimed(vcpu, mmio, write, low, high, size, value, range.client.name);
  }

  private unclaimed(
    vcpu: number,
    mmio: boolean,
    write: boolean,
    low: number,
    high: number,
    size: number,
    value: number,
    straddles?: string,
  ): number {
    const address = (high >>> 0) * 2 ** 32 + (low >>> 0);
    const space = mmio ? 'mmio' : 'pio';
    const result = this.fallback.serve(vcpu, space, write, address, size, value, straddles);
    this.high = result;
    if (this.traces.length > 0) {
      this.emitTrace({
        vcpu,
        client: 'default',
        region: '',
        space,
        direction: write ? 'write' : 'read',
        address,
        size,
        value: (write ? value : result) >>> 0,
        valueHigh: 0,
        lines: {},
      });
    }
    return write ? 0 : result;
  }

  /** Requests that match no range: PCI configuration, writes to write-protected pages, the unknown. */
  private serveUnrouted(slot: number, at: number, type: number, write: boolean, size: number): void {
    const words = this.page.i32;
    // A write fault on a read-only page is a write to ROM: dropped, and nobody waits for a value.
    if (type !== REQUEST.WRITE_PROTECT) {
      const address = words[at + WORD.addressLow] as number;
      const value = this.unclaimed(slot, false, write, address, 0, size, words[at + WORD.valueLow] as number);
      if (!write) words[at + WORD.valueLow] = value;
    }
    this.host.complete(slot, this.host.generation(slot));
  }

  private trace(
    range: ClientRange,
    vcpu: number,
    mmio: boolean,
    write: boolean,
    low: number,
    high: number,
    size: number,
    value: number,
    valueHigh: number,
  ): void {
    const masked = size >= 4 ? value >>> 0 : value & (2 ** (8 * size) - 1);
    this.emitTrace({
      vcpu,
      client: range.client.name,
      region: range.region,
      space: mmio ? 'mmio' : 'pio',
      direction: write ? 'write' : 'read',
      address: (high >>> 0) * 2 ** 32 + (low >>> 0),
      size,
      value: masked,
      valueHigh: size === 8 ? valueHigh >>> 0 : 0,
      lines: this.host.lines(range.client),
    });
  }

  private emitTrace(record: TraceRecord): void {
    for (const { filter, sink } of this.traces) {
      if (!traceMatches(filter, record)) continue;
      try {
        sink(record);
      } catch {
        // A tool that watches must not change what is watched.
      }
    }
  }

  private retrace(): void {
    const tracked = (range: ClientRange) =>
      this.traces.some(
        ({ filter }) =>
          (filter.device === undefined || filter.device === range.client.name) &&
          (filter.space === undefined || filter.space === range.space) &&
          (filter.addresses === undefined ||
            (range.base + range.size - 1 >= filter.addresses[0] && range.base <= filter.addresses[1])),
      );
    this.set.startsTraced = tracked;
    this.set.setDirect((range) => !tracked(range), true);
    this.set.setDirect(tracked, false);
  }
}
