// Devices constructed with nothing behind them and thrown away: what only constructed ones show is
// known before anything is opened.
import { joinProblems } from '../bus/range.js';
import { MachineControl } from '../device/tokens.js';
import type { TraplineError } from '../errors.js';
import { RangeSet } from '../ioreq/range-set.js';
import { mapRows } from './address-map.js';
import { Composition } from './composition.js';
import { EventQueue } from './inbox.js';
import { LateClock, LateMsi } from './late.js';
import type { DevicePlan } from './plan.js';
import { HostRandom } from './random.js';
import type { MapRow } from './vm-types.js';

class NoControl extends MachineControl {
  exit(): void {}
  powerOff(): void {}
  reset(): void {}
}

/**
 * Constructs devices with stand-ins for host resources, in no machine. What is wrong with their parts and
 * regions is added to `problems`; overlaps are left to the caller.
 */
export function tryOut(
  plans: readonly DevicePlan[],
  problems: TraplineError[],
  set: RangeSet = new RangeSet(),
): Composition {
  const composition = new Composition({
    memory: { target: undefined },
    clock: new LateClock(),
    control: new NoControl(),
    msi: new LateMsi(),
    random: new HostRandom(),
    queue: new EventQueue(() => 0),
    ranges: () => set,
    logSink: () => {},
    report: () => () => {},
    failed: () => {},
  });
  // A device that cannot be injected cannot be looked at either; one with a bad option can.
  const sound = plans.filter(({ id }) => !problems.some(({ who, code }) => who === id && code === 'TL_INJECT'));
  composition.construct(sound, undefined, problems);
  return composition;
}

/** Constructors that threw, but for devices of which something wrong is known already: that may be why. */
export function untold(composition: Composition, problems: readonly TraplineError[]): TraplineError[] {
  const told = new Set(problems.map(({ who }) => who));
  return [...composition.broken.values()].filter(({ who }) => !told.has(who));
}

/** Tries a whole machine. @returns its address map, empty if there are problems */
export function preview(plans: readonly DevicePlan[], problems: TraplineError[]): MapRow[] {
  const set = new RangeSet();
  const composition = tryOut(plans, problems, set);
  problems.push(...joinProblems([], composition.ranges()));
  problems.push(...untold(composition, problems));
  if (problems.length > 0) return [];
  set.add(composition.ranges());
  return mapRows(set.list(), composition.devices);
}
