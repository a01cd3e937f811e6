// Which ranges of a machine its backend serves without entering JavaScript. Kept in line with the range
// set: a range that is traced, failed or covered by another is served here, in TypeScript, which means
// the same.
import type { IoreqSource, RouteHandle } from '../backend/backend.js';
import type { ServedRegion } from '../device/service.js';
import type { ClientRange, IoreqClient } from '../ioreq/client.js';
import type { RangeSet } from '../ioreq/range-set.js';

/** 1, 2 and 4 bytes: what a backend serves. */
const NATIVE_WIDTHS = 7;

/** The routes of one machine. */
export class NativeRoutes {
  private readonly routes = new Map<ClientRange, RouteHandle>();
  private source: IoreqSource | undefined;

  constructor(
    private readonly set: RangeSet,
    /** What a doorbell threw. */
    private readonly failed: (range: ClientRange, thrown: unknown) => void,
  ) {
    set.onChange = () => this.refresh();
    set.extra = (range) => this.routes.get(range)?.counters;
  }

  /** Gives the backend what it may serve, from now on. */
  connect(source: IoreqSource): void {
    if (!source.route) return;
    this.source = source;
    this.refresh();
  }

  /** Takes everything back: the backend is about to go. */
  disconnect(): void {
    this.source = undefined;
    for (const range of [...this.routes.keys()]) this.remove(range);
  }

  /** Rings the doorbells that were rung natively: all, or those of one client. */
  drain(only?: IoreqClient): void {
    for (const [range, handle] of this.routes) {
      if (range.served?.serves !== 'doorbell' || (only && range.client !== only)) continue;
      for (let kick = handle.takeKick(); kick >= 0; kick = handle.takeKick()) this.ring(range, kick);
    }
  }

  private refresh(): void {
    if (!this.source) return;
    for (const range of [...this.routes.keys()]) if (!this.set.isNative(range)) this.remove(range);
    for (const range of this.set.list()) {
      const { served } = range;
      if (served && !this.routes.has(range) && this.set.isNative(range)) this.add(range, served);
    }
  }

  private add(range: ClientRange, served: ServedRegion): void {
    const { space, base, size, widths } = range;
    const { serves: service, match } = served;
    const value = served.peek?.(0, size) ?? 0;
    const route = { service, space, base, size, widths: widths & NATIVE_WIDTHS, value, match };
    const handle = this.source?.route?.(route);
    if (!handle) return;
    this.routes.set(range, handle);
    served.bind?.(handle);
    // From here on an access of the guest may overtake a kick: the device's own accesses drain first.
    if (service === 'doorbell') this.setDrain(range.client, (client) => this.drain(client));
  }

  private remove(range: ClientRange): void {
    const handle = this.routes.get(range);
    if (!handle) return;
    handle.remove();
    const { served } = range;
    served?.bind?.(undefined);
    // What was rung before is not lost: the device still sees it, unless it has failed.
    if (served?.serves === 'doorbell') {
      for (let kick = handle.takeKick(); kick >= 0; kick = handle.takeKick()) this.ring(range, kick);
    }
    this.routes.delete(range);
    this.set.count(range, handle.counters);
    const rings = [...this.routes.keys()].some(
      ({ client, served: other }) => client === range.client && other?.serves === 'doorbell',
    );
    if (!rings) this.setDrain(range.client, undefined);
  }

  private setDrain(client: IoreqClient, drain: IoreqClient['drain']): void {
    if ((client.drain === undefined) === (drain === undefined)) return;
    client.drain = drain;
    this.set.refreshDirect(client);
  }

  private ring(range: ClientRange, value: number): void {
    if (range.client.failure) return;
    try {
      range.served?.kick?.(value);
    } catch (thrown) {
      this.failed(range, thrown);
    }
  }
}
