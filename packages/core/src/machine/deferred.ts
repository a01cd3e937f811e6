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
  /** Writes the value (an int32; -1 fills every half) into the slot and gives it back. */
  finish(request: DeferredRequest, value: number): void;
  /** Brackets work done for the guest outside of `serve`. */
  enter(): void;
  leave(): void;
  /** Deadlines are off under a debugger: a breakpoint is no hang. */
  readonly debugging: boolean;
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
    const { client, deferred } = request.range;
    const busy = (this.active.get(client)?.size ?? 0) > 0;
    if (busy && !deferred?.concurrent) {
      this.queued.set(client, [...(this.queued.get(client) ?? []), request]);
      return;
    }
    this.start(request);
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
    for (const [, list] of queued) for (const request of list) this.host.finish(request, -1);
    this.wakeIdle();
  }

  private start(request: DeferredRequest): void {
    const { range, write, offset, size } = request;
    const service = range.deferred as NonNullable<typeof range.deferred>;
    const waiting: Waiting = {
      request,
      timer: this.host.debugging
        ? undefined
        : hostTime.setTimeout(() => this.expire(waiting, service.deadlineMs), service.deadlineMs),
    };
    const set = this.active.get(range.client) ?? new Set<Waiting>();
    this.active.set(range.client, set.add(waiting));
    let result: unknown;
    try {
      result = write ? service.handler.write(offset, size, request.value) : service.handler.read(offset, size);
    } catch (thrown) {
      this.failed(waiting, thrown);
      return;
    }
    if (!(result instanceof Promise)) this.answered(waiting, result);
    else
      result.then(
        (value: unknown) => this.answered(waiting, value),
        (thrown: unknown) => this.failed(waiting, thrown),
      );
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
      this.host.finish(waiting.request, value);
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
    if (!next) return;
    if (!client.failure) this.start(next);
    else for (const request of [next, ...(list ?? [])]) this.host.finish(request, -1);
  }

  private wakeIdle(): void {
    if (this.count > 0) return;
    const idle = this.idle;
    this.idle = [];
    for (const resolve of idle) resolve();
  }
}
