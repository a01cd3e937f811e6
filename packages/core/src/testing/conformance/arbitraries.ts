// Random sequences, aimed at what a device has: its registers, its named values, its timers.
import fc from 'fast-check';
import { fieldMask } from '../../device/layout.js';
import type { DeviceMap, MapRegion } from './device-map.js';
import type { Case, Place, Step } from './steps.js';

/** What a property's sequences may hold beside the guest's accesses. */
export interface StepMix {
  /** Longest sequence before the point of interest. */
  readonly before: number;
  /** Longest sequence after it. */
  readonly after: number;
  /** `guest`: all a guest and time can do. `time`: nothing but time. */
  readonly afterKind?: 'guest' | 'time';
  /** Steps that must make no difference, mixed into `before`. */
  readonly markers?: fc.Arbitrary<Step> | undefined;
  /** Reset is a step like any other. */
  readonly resets?: boolean;
}

/** Cases of one device. @param events names of what the outside may do */
export function caseArbitrary(map: DeviceMap, events: readonly string[], mix: StepMix): fc.Arbitrary<Case> {
  const guest = stepArbitrary(map, events, mix);
  const list = (step: fc.Arbitrary<Step>, maxLength: number) => fc.array(step, { maxLength, size: 'max' });
  const u32 = valueArbitrary(map);
  return fc.record({
    before: list(guest, mix.before),
    after: list(
      mix.afterKind === 'time' ? advance : stepArbitrary(map, events, { ...mix, markers: undefined }),
      mix.after,
    ),
    numbers: fc.tuple(fc.nat(0xffff), u32, u32),
  });
}

const advance: fc.Arbitrary<Step> = fc
  .oneof(
    { weight: 3, arbitrary: fc.constantFrom(1, 10, 100, 0.5, 3, 1000) },
    // To the next timer, wherever it is.
    { weight: 2, arbitrary: fc.constant(-1) },
  )
  .map((ms) => ({ kind: 'advance', ms }));

function stepArbitrary(map: DeviceMap, events: readonly string[], mix: StepMix): fc.Arbitrary<Step> {
  const choices: { weight: number; arbitrary: fc.Arbitrary<Step> }[] = [{ weight: 3, arbitrary: advance }];
  if (map.regions.length > 0) {
    const places = placeArbitrary(map);
    choices.push(
      { weight: 4, arbitrary: places.map((place): Step => ({ kind: 'read', ...place })) },
      { weight: 8, arbitrary: writes(map, places) },
    );
  }
  if (mix.resets) choices.push({ weight: 1, arbitrary: fc.constant({ kind: 'reset' }) });
  if (mix.markers) choices.push({ weight: 4, arbitrary: mix.markers });
  if (events.length > 0) {
    choices.push({ weight: 4, arbitrary: fc.constantFrom(...events).map((name): Step => ({ kind: 'event', name })) });
  }
  return fc.oneof(...choices);
}

function writes(map: DeviceMap, places: fc.Arbitrary<Place>): fc.Arbitrary<Step> {
  return fc
    .tuple(places, valueArbitrary(map))
    .map(([place, value]): Step => ({ kind: 'write', ...place, value: fit(value, place.size) }));
}

/** Drops what an access of this size cannot carry. */
export function fit(value: number, size: number): number {
  return size >= 4 ? value : value % 2 ** (8 * size);
}

/** Mostly whole registers, sometimes anything inside a region. */
function placeArbitrary(map: DeviceMap): fc.Arbitrary<Place> {
  const anywhere = insideArbitrary(map);
  const known = [
    ...new Map(
      map.registers.map(({ region, offset, width }) => [
        `${region.index} ${offset} ${width}`,
        { region: region.index, offset, size: width },
      ]),
    ).values(),
  ];
  if (known.length === 0) return anywhere;
  const index = map.regions.flatMap((region) => doors(region));
  return fc.oneof({ weight: 8, arbitrary: fc.constantFrom(...known, ...index) }, { weight: 2, arbitrary: anywhere });
}

/** Data registers of indexed banks: as places they are no register of their own. */
function doors(region: MapRegion): Place[] {
  const { layout } = region;
  if (!layout) return [];
  return layout.rows
    .filter(({ door }) => door === 'data')
    .map(({ offset, width }) => ({
      region: region.index,
      offset: Math.floor(offset / layout.width) * region.stride + (offset % layout.width),
      size: width,
    }));
}

/** A number that covers the largest region. */
function offsetArbitrary(map: DeviceMap): fc.Arbitrary<number> {
  return fc.nat(Math.max(...map.regions.map(({ size }) => size - 1)));
}

/** Any access wholly inside a region. */
function insideArbitrary(map: DeviceMap): fc.Arbitrary<Place> {
  return fc.tuple(fc.constantFrom(...map.regions), offsetArbitrary(map), fc.nat(3)).map(([region, at, choice]) => {
    const fitting = region.sizes.filter((size) => size <= region.size);
    const size = fitting[choice % Math.max(1, fitting.length)] ?? 1;
    return { region: region.index, offset: at % Math.max(1, region.size - size + 1), size };
  });
}

/** Any access that begins in a region and leaves it. */
export function straddleArbitrary(map: DeviceMap): fc.Arbitrary<Step> | undefined {
  const regions = map.regions.filter(({ qualified }) => !qualified);
  if (regions.length === 0) return undefined;
  return fc
    .tuple(fc.constantFrom(...regions), fc.constantFrom(2, 4, 8), fc.nat(6), fc.boolean(), valueArbitrary(map))
    .map(([region, size, back, write, value]): Step => {
      const inside = Math.min(region.size, 1 + (back % (size - 1)));
      const place: Place = { region: region.index, offset: region.size - inside, size };
      return write ? { kind: 'write', ...place, value: fit(value, size) } : { kind: 'read', ...place };
    });
}

/** Any access at all whose first byte is in a region, and peeks. */
export function wildArbitrary(map: DeviceMap): fc.Arbitrary<Step> | undefined {
  if (map.regions.length === 0) return undefined;
  return fc
    .tuple(
      fc.constantFrom(...map.regions),
      offsetArbitrary(map),
      fc.constantFrom(1, 2, 4, 8),
      fc.constantFrom('read' as const, 'write' as const, 'peek' as const),
      valueArbitrary(map),
    )
    .map(([region, at, size, kind, value]): Step => {
      const place: Place = { region: region.index, offset: at % region.size, size };
      if (kind === 'write') return { kind, ...place, value: fit(value, size) };
      if (kind === 'read') return { kind, ...place };
      const narrow = Math.min(size, 4);
      return { kind, ...place, size: narrow, offset: Math.min(place.offset, Math.max(0, region.size - narrow)) };
    });
}

export function peekArbitrary(map: DeviceMap): fc.Arbitrary<Step> | undefined {
  if (map.regions.length === 0) return undefined;
  return placeArbitrary(map).map((place) => ({ kind: 'peek', ...place, size: Math.min(place.size, 4) }));
}

/** Calls past the bus with offsets the bus never lets through. */
export function directArbitrary(regions: readonly MapRegion[], map: DeviceMap): fc.Arbitrary<Step> | undefined {
  if (regions.length === 0) return undefined;
  return fc
    .tuple(
      fc.constantFrom(...regions),
      fc.constantFrom(1, 2, 4),
      fc.oneof(fc.nat(8), fc.nat(0xffff)),
      fc.boolean(),
      valueArbitrary(map),
    )
    .map(([region, wanted, past, write, value]): Step => {
      const size = Math.max(wanted, region.smallest);
      const place: Place = { region: region.index, offset: region.deviceSize + past, size };
      return write ? { kind: 'direct-write', ...place, value: fit(value, size) } : { kind: 'direct-read', ...place };
    });
}

/** 32-bit values: what the layouts name, single bits, small numbers, and anything. */
function valueArbitrary(map: DeviceMap): fc.Arbitrary<number> {
  const special = new Set([0, 1, 0xffff_ffff, 0xff, 0x80, 0xaa55_aa55]);
  for (const { row } of map.registers) {
    special.add(row.reset);
    if (row.door === 'behind') special.add(row.offset);
    for (const field of Object.values(row.fields)) {
      special.add(fieldMask(field) >>> 0);
      for (const code of Object.keys(field.values ?? {})) special.add((Number(code) << field.lo) >>> 0);
    }
  }
  return fc.oneof(
    { weight: 4, arbitrary: fc.constantFrom(...special) },
    { weight: 2, arbitrary: fc.nat(15) },
    { weight: 2, arbitrary: fc.nat(31).map((bit) => 2 ** bit) },
    { weight: 3, arbitrary: fc.nat(0xffff_ffff) },
  );
}
