// A promise from a synchronous handler is a value nobody waits for. A read that returns one fails by
// itself; a write looks as if it had worked. Under test it does not.
import type { RegisterBlock, RowHooks } from '../device/register-block.js';
import { REGISTERS } from '../device/register-types.js';
import { isRegisters } from '../device/registers.js';
import { TraplineError } from '../errors.js';
import type { DeviceInstance } from '../machine/device-instance.js';

/** The registers of a region, if `registers()` made it. */
export function blockOf(inside: DeviceInstance, region: string): RegisterBlock | undefined {
  const { instance } = inside;
  const member: unknown = region ? (instance as Record<string, unknown>)[region] : instance;
  return isRegisters(member) ? member[REGISTERS] : undefined;
}

/** The hooks of a block's rows: what a test may look at, and a device may not. */
export function hooksOf(block: RegisterBlock): (RowHooks | undefined)[] {
  return (block as unknown as { readonly hooks: (RowHooks | undefined)[] }).hooks;
}

/** From now on a handler or hook that returns a promise for a write makes the device fail. */
export function refusePromises(inside: DeviceInstance, fail: (error: TraplineError) => void): void {
  const check = (what: string, result: unknown): void => {
    if (typeof (result as PromiseLike<unknown> | undefined)?.then !== 'function') return;
    // What it rejects with later is no news.
    Promise.resolve(result).catch(() => {});
    fail(
      new TraplineError('TL_DEVICE_VALUE', `${what} returned a promise`, {
        who: inside.id,
        fix: 'finish at once and announce later work by an interrupt, or declare the region with defer: true',
      }),
    );
  };
  for (const range of inside.ranges) {
    if (range.deferred) continue;
    const block = blockOf(inside, range.region);
    if (!block) {
      watchHandler(range.adapter.handler, check);
      continue;
    }
    const hooks = hooksOf(block);
    for (const [r, row] of block.layout.rows.entries()) hooks[r] = watchHooks(hooks[r], `write to ${row.name}`, check);
  }
}

type Check = (what: string, result: unknown) => void;

function watchHandler(handler: object, check: Check): void {
  const target = handler as { write(offset: number, size: number, value: number): unknown };
  const write = target.write;
  Object.defineProperty(target, 'write', {
    configurable: true,
    writable: true,
    value(offset: number, size: number, value: number) {
      check(`write of ${size} at offset 0x${offset.toString(16)}`, write.call(target, offset, size, value));
    },
  });
}

function watchHooks(hooks: RowHooks | undefined, what: string, check: Check): RowHooks | undefined {
  if (!hooks?.write) return hooks;
  return {
    read: hooks.read && ((element) => hooks.read?.(element) as number),
    peek: hooks.peek && ((element) => hooks.peek?.(element) as number),
    write: (value, old, element) => check(what, hooks.write?.(value, old, element)),
  };
}
