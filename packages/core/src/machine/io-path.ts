// The way of every access through one machine: from the backend's claimed slots to the dispatcher
// and back, and what may happen only between two accesses.
import type { IoreqSource, Space } from '../backend/backend.js';
import type { TraplineError } from '../errors.js';
import type { ClientRange, IoreqClient } from '../ioreq/client.js';
import { DefaultClient, type DefaultPolicy, type UnclaimedAccess } from '../ioreq/default-client.js';
import { type DeferredRequest, Dispatcher } from '../ioreq/dispatcher.js';
import { SLOT_WORDS, WORD } from '../ioreq/layout.js';
import { IoreqPage } from '../ioreq/page.js';
import { hostTime } from './clock.js';
import { DeferredRequests } from './deferred.js';
import { EventQueue } from './inbox.js';
import { NativeRoutes } from './native-routes.js';
import { pump } from './pump.js';

/** What the path tells its machine. */
export interface IoPathHost {
  unclaimed(access: UnclaimedAccess): void;
  straddle(range: ClientRange, write: boolean, address: number, size: number): void;
  failed(error: TraplineError): void;
  /** The default client's policy ends the machine. */
  fatal(error: TraplineError): void;
  /** Levels of a client's lines, by name. */
  lines(client: IoreqClient): Readonly<Record<string, boolean>>;
  /** Machine time in ms. */
  now(): number;
}

/** How a machine's path behaves. */
export interface IoPathOptions {
  readonly defaults: DefaultPolicy;
  readonly debugging: boolean;
  readonly sampleEvery: number;
}

/** What a path reads before it has a backend: nothing is ever requested there. */
const UNCONNECTED = IoreqPage.create();

/** Requests, outside events and deferred completions of one machine. */
export class IoPath {
  readonly queue: EventQueue;
  readonly dispatcher: Dispatcher;
  readonly deferred: DeferredRequests;
  readonly routes: NativeRoutes;
  readonly fallback: DefaultClient;
  private source: IoreqSource | undefined;
  private depth = 0;
  private afterAccess: (() => void)[] = [];

  constructor(host: IoPathHost, options: IoPathOptions) {
    this.queue = new EventQueue(() => host.now());
    this.fallback = new DefaultClient(
      options.defaults,
      hostTime.now,
      (access) => host.unclaimed(access),
      (error) => host.fatal(error),
    );
    this.deferred = new DeferredRequests(() => this.dispatcher, {
      debugging: options.debugging,
      enter: () => this.enter(),
      leave: () => this.leave(),
      finish: (request, value, high) => this.finishDeferred(request, value, high),
    });
    this.dispatcher = new Dispatcher(UNCONNECTED, this.fallback, {
      complete: (slot, generation) => this.source?.complete(slot, generation),
      generation: (slot) => this.source?.generation(slot) ?? 0,
      failed: (_client, error) => host.failed(error),
      straddle: (range, _space, write, address, size) => host.straddle(range, write, address, size),
      defer: (request) => {
        this.deferred.begin(request);
        // Promises are heard when the pump lets go of the thread.
        pump.endTurn();
      },
      now: hostTime.now,
      lines: (client) => host.lines(client),
    });
    this.dispatcher.sampleEvery = options.sampleEvery;
    this.routes = new NativeRoutes(this.dispatcher.set, (range, thrown) => {
      this.dispatcher.disable(range.client, this.dispatcher.failure(range, thrown, true, 0, range.size));
    });
  }

  /** Takes requests from a backend's page from now on. */
  connect(source: IoreqSource): void {
    this.source = source;
    this.dispatcher.page = source.page;
    this.routes.connect(source);
  }

  /** Doorbells that the backend serves were rung. */
  kicked(): void {
    this.enter();
    this.routes.drain();
    this.leave();
  }

  /** Serves claimed slots. Never throws. */
  serve(claimed: number): void {
    this.enter();
    this.dispatcher.serve(claimed);
    this.leave();
  }

  /** One access without a page. Never throws. @returns low 32 bits of a read, an int32 */
  access(vcpu: number, space: Space, write: boolean, address: number, size: number, value: number): number {
    this.enter();
    const high = Math.floor(address / 2 ** 32);
    const result = this.dispatcher.access(vcpu, space === 'mmio', write, address | 0, high, size, value, 0, false);
    this.leave();
    return result;
  }

  /** Runs when no handler does: what a device asks of its machine happens after its access completed. */
  soon(run: () => void): void {
    if (this.depth > 0) this.afterAccess.push(run);
    else run();
  }

  /** Runs as if it were an access: events wait, and so does what devices ask of their machine. */
  uninterrupted(run: () => void): void {
    this.enter();
    try {
      run();
    } finally {
      this.leave();
    }
  }

  private enter(): void {
    this.depth++;
    this.queue.enter();
  }

  private leave(): void {
    this.depth--;
    this.queue.leave();
    if (this.depth === 0 && this.afterAccess.length > 0) this.runAfterAccess();
  }

  private runAfterAccess(): void {
    const work = this.afterAccess;
    this.afterAccess = [];
    for (const run of work) run();
  }

  private finishDeferred(request: DeferredRequest, value: number, high: number): void {
    const { source } = this;
    // A slot whose generation moved on belongs to another access: touching it would corrupt that one.
    if (!source || source.generation(request.slot) !== request.generation) {
      this.deferred.late++;
      return;
    }
    if (!request.write) {
      const at = request.slot * SLOT_WORDS;
      source.page.i32[at + WORD.valueLow] = value;
      if (request.range.space === 'mmio') source.page.i32[at + WORD.valueHigh] = high;
    }
    source.complete(request.slot, request.generation);
  }
}
