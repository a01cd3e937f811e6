// Ranges, handlers and a dispatcher for tests that need no machine.
import { type AddressRange, ALL_WIDTHS } from '../src/bus/range.js';
import { WidthAdapter } from '../src/bus/width-adapter.js';
import type { AccessRule, IoHandler } from '../src/device/handler.js';
import type { TraplineError } from '../src/errors.js';
import { type ClientRange, IoreqClient } from '../src/ioreq/client.js';
import { DefaultClient, type DefaultPolicy, type UnclaimedAccess } from '../src/ioreq/default-client.js';
import { type DeferredRequest, Dispatcher } from '../src/ioreq/dispatcher.js';
import { type IoRequest, IoreqPage } from '../src/ioreq/page.js';

/** A range without a client. */
export function range(base: number, size: number, more: Partial<AddressRange> = {}): AddressRange {
  return { space: 'mmio', base, size, widths: ALL_WIDTHS, dynamic: false, owner: `at${base}`, ...more };
}

/** A handler that answers its own number and remembers what was written. */
export class Cell implements IoHandler {
  readonly writes: { offset: number; size: number; value: number }[] = [];
  constructor(readonly answer = 0) {}
  read(_offset: number, _size: number): number {
    return this.answer;
  }
  write(offset: number, size: number, value: number): void {
    this.writes.push({ offset, size, value });
  }
}

/** How {@link owned} places a handler. */
export interface OwnedOptions extends Partial<AddressRange> {
  readonly impl?: AccessRule;
  readonly valid?: AccessRule;
  readonly client?: IoreqClient;
  readonly deferred?: ClientRange['deferred'];
}

/** A range served by a handler. */
export function owned(base: number, size: number, handler: IoHandler, options: OwnedOptions = {}): ClientRange {
  const { impl = {}, valid = {}, client = new IoreqClient(`at${base}`), ...more } = options;
  const adapter = new WidthAdapter(handler, size, 1, impl, valid, { stride: undefined, endian: 'little' });
  return { ...range(base, size, more), client, region: '', adapter, deferred: options.deferred };
}

/** A dispatcher whose host remembers everything. */
export function dispatcherRig(ranges: readonly ClientRange[] = [], policy: DefaultPolicy = { report: 'always' }) {
  const page = IoreqPage.create();
  const completed: number[] = [];
  const failures: TraplineError[] = [];
  const straddles: { owner: string; address: number; size: number }[] = [];
  const unclaimed: UnclaimedAccess[] = [];
  const deferred: DeferredRequest[] = [];
  const fallback = new DefaultClient(
    policy,
    () => 0,
    (access) => unclaimed.push(access),
    () => {},
  );
  const dispatcher = new Dispatcher(page, fallback, {
    complete: (slot) => completed.push(slot),
    generation: () => 1,
    failed: (_client, error) => failures.push(error),
    straddle: (under, _space, _write, address, size) => straddles.push({ owner: under.owner, address, size }),
    defer: (request) => deferred.push(request),
    now: () => 0,
    lines: () => ({}),
  });
  dispatcher.set.add(ranges);
  const request = (slot: number, request: Parameters<IoreqPage['encode']>[1]): IoRequest => {
    page.encode(slot, request);
    dispatcher.serve(1 << slot);
    return page.decode(slot);
  };
  return { page, dispatcher, completed, failures, straddles, unclaimed, deferred, fallback, request };
}
