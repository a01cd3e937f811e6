// Accesses whose handler answers later. Each is settled once: by its promise, by its deadline, or by
// the machine closing; whoever comes second finds the (slot, generation) gone and is counted.
import { BadValue, fitsAccess } from '../bus/width-adapter.js';
import { TraplineError } from '../errors.js';
import type { IoreqClient } from '../ioreq/client.js';
import type { DeferredRequest, Dispatcher } from '../ioreq/dispatcher.js';
import { hostTime } from './clock.js';

interface Waiting {
  readonly request: DeferredRequest;
  readonly timer: unknown;
}

/** What the deferred service needs of its machine. */
export interface DeferredHost {
  /** Writes the value, in two int32 halves, into the slot and gives it back. */
  finish(request: DeferredRequest, value: number, high: number): void;
  /** Brackets work done for the guest outside of `serve`. */
  enter(): void;
  leave(): void;
  /** Deadlines are off under a debugger: a breakpoint is no hang. */
  readonly debugging: boolean;
}

function isExclusive({ request }: Waiting): boolean {
  return !request.range.deferred?.concurrent;
}

/** Every deferred request of one machine. */
export class DeferredRequests {
  /** Settlements that came after their request was gone. */
  late = 0;
  private readonly active = new Map<IoreqClient, Set<Waiting>>();
  private readonly queued = new Map<IoreqClient, DeferredRequest[]>();
  private idle: (() => void)[] = [];

  constructor(
    private readonly dispatcher: () => Dispatcher,
    private readonly host: DeferredHost,
  ) {}

  get count(): number {
    let count = 0;
    for (const set of this.active.values()) count += set.size;
    for (const list of this.queued.values()) count += list.length;
    return count;
  }

  /** Ids of the devices that still have requests in flight. */
  get devices(): string[] {
    return [...new Set([...this.active.keys(), ...this.queued.keys()])].map((client) => client.name);
  }

  begin(request: DeferredRequest): void {
    const { client } = request.range;
    if (this.mustWait(request)) {
      this.queued.set(client, [...(this.queued.get(client) ?? []), request]);
    } else {
      this.start(request);
    }
    this.noteBusy(client);
  }

  /** One access of a device at a time, in the order they came, but for those declared concurrent. */
  private mustWait({ range: { client, deferred } }: DeferredRequest): boolean {
    if (deferred?.concurrent) return false;
    if (this.queued.has(client)) return true;
    const active = [...(this.active.get(client) ?? [])];
    return deferred ? active.length > 0 : active.some(isExclusive);
  }

  private noteBusy(client: IoreqClient): void {
    client.busy = this.queued.has(client) || [...(this.active.get(client) ?? [])].some(isExclusive);
  }

  /** Resolves once nothing is in flight. */
  settled(): Promise<void> {
    if (this.count === 0) return Promise.resolve();
    return new Promise((resolve) => this.idle.push(resolve));
  }

  /** Completes everything with all ones: the machine closes, or the device was detached. */
  abandon(only?: IoreqClient): void {
    const given = <T>(of: ReadonlyMap<IoreqClient, T>) => [...of].filter(([client]) => !only || client === only);
    // Out of the queue first: settling what is active would start them.
    const queued = given(this.queued);
    for (const [client] of queued) this.queued.delete(client);
    for (const [, set] of given(this.active)) for (const waiting of [...set]) this.settle(waiting, -1);
    for (const [, list] of queued) for (const request of list) this.host.finish(request, -1, -1);
    for (const [client] of queued) this.noteBusy(client);
    this.wakeIdle();
  }

  private start(request: DeferredRequest): void {
    const { range, write, offset, size } = request;
    const service = range.deferred;
    if (!service) {
      this.serveNow(request);
      return;
    }
    const waiting: Waiting = {
      request,
      timer: this.host.debugging
        ? undefined
        : hostTime.setTimeout(() => this.expire(waiting, service.deadlineMs), service.deadlineMs),
    };
    const set = this.active.get(range.client) ?? new Set<Waiting>();
    this.active.set(range.client, set.add(waiting));
    const dispatcher = this.dispatcher();
    const frame = dispatcher.enter(request);
    try {
      const result: unknown = write
        ? service.handler.write(offset, size, request.value)
        : service.handler.read(offset, size);
      dispatcher.marks.leave(frame);
      if (!(result instanceof Promise)) this.answered(waiting, result);
      else
        result.then(
          (value: unknown) => this.answered(waiting, value),
          (thrown: unknown) => this.failed(waiting, thrown),
        );
    } catch (thrown) {
      dispatcher.marks.leave(frame);
      // Also of a `then` of its own.
      this.failed(waiting, thrown);
    }
  }

  /** An access to a region that does not wait itself, after it has waited for its device. */
  private serveNow(request: DeferredRequest): void {
    const { range, write, offset, size, value, valueHigh } = request;
    const dispatcher = this.dispatcher();
    let low = -1;
    let high = -1;
    const frame = dispatcher.enter(request);
    try {
      if (write) range.adapter.write(offset, size, value | 0, valueHigh);
      else {
        low = range.adapter.read(offset, size);
        high = range.adapter.high;
      }
      dispatcher.marks.leave(frame);
    } catch (thrown) {
      dispatcher.marks.leave(frame);
      dispatcher.disable(range.client, dispatcher.failure(range, thrown, write, offset, size));
    }
    dispatcher.traceDeferred(request, write ? value : low);
    this.host.finish(request, low, high);
    this.startNext(range.client);
  }

  private answered(waiting: Waiting, value: unknown): void {
    const { write, size } = waiting.request;
    if (write) this.settle(waiting, 0);
    else if (typeof value === 'number' && fitsAccess(value, size)) this.settle(waiting, value | 0);
    else this.failed(waiting, new BadValue(value, size));
  }

  private failed(waiting: Waiting, thrown: unknown): void {
    if (!this.isActive(waiting)) {
      this.late++;
      return;
    }
    const { range, write, offset, size } = waiting.request;
    const dispatcher = this.dispatcher();
    dispatcher.disable(range.client, dispatcher.failure(range, thrown, write, offset, size));
    this.settle(waiting, -1);
  }

  private expire(waiting: Waiting, ms: number): void {
    if (!this.isActive(waiting)) return;
    const { range, write, offset } = waiting.request;
    const what = `${write ? 'write' : 'read'} at offset 0x${offset.toString(16)} did not settle within ${ms} ms`;
    this.dispatcher().disable(range.client, new TraplineError('TL_DEADLINE', what, { who: range.client.name }));
    this.settle(waiting, -1);
  }

  private isActive(waiting: Waiting): boolean {
    return this.active.get(waiting.request.range.client)?.has(waiting) ?? false;
  }

  private settle(waiting: Waiting, value: number): void {
    const { client } = waiting.request.range;
    const set = this.active.get(client);
    if (!set?.delete(waiting)) {
      this.late++;
      return;
    }
    if (set.size === 0) this.active.delete(client);
    if (waiting.timer !== undefined) hostTime.clearTimeout(waiting.timer);
    this.host.enter();
    try {
      this.dispatcher().traceDeferred(waiting.request, waiting.request.write ? waiting.request.value : value);
      this.host.finish(waiting.request, value, value === -1 ? -1 : 0);
      this.startNext(client);
    } finally {
      this.host.leave();
    }
    this.wakeIdle();
  }

  /** Starts what waited for the device; all that waits for a failed one is finished. */
  private startNext(client: IoreqClient): void {
    const list = this.queued.get(client);
    const next = list?.shift();
    if (!list || list.length === 0 || client.failure) this.queued.delete(client);
    if (next && !client.failure) this.start(next);
    else if (next) for (const request of [next, ...(list ?? [])]) this.host.finish(request, -1, -1);
    this.noteBusy(client);
  }

  private wakeIdle(): void {
    if (this.count > 0) return;
    const idle = this.idle;
    this.idle = [];
    for (const resolve of idle) resolve();
  }
}
