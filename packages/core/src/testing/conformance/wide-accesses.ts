import type { MapRegion } from './device-map.js';
import type { Kit } from './kit.js';
import type { Property } from './property.js';
import type { Case, PartsStep, Place, Step } from './steps.js';
import { casesOf, disagreement } from './twin-properties.js';
import { Twins } from './twins.js';

/**
 * An access over several registers does what accesses to each of them do, lowest address first, side
 * effects included. Only for `registers()`: a handler written by hand may mean something else by a
 * wide access, as the data port of a disk does.
 */
export const wideAccesses: Property = {
  id: 'wide-accesses',
  title: 'an access over several registers is one to each, lowest address first',
  cases: (kit) => (spanned(kit).length > 0 ? casesOf(kit, { after: 0, resets: true }) : undefined),
  violation(kit, c) {
    const span = spanOf(kit, c);
    if (!span) return undefined;
    const { place, part } = span;
    const twins = new Twins(kit);
    for (const step of c.before) twins.both(step);
    const [choice, value] = c.numbers as [number, number];
    const fitted = place.size >= 4 ? value : value % 2 ** (8 * place.size);
    const write = choice % 2 === 1;
    const whole: Step = write ? { kind: 'write', ...place, value: fitted } : { kind: 'read', ...place };
    const parts: PartsStep = { kind: write ? 'write-parts' : 'read-parts', ...place, value: fitted, part };
    twins.each(whole, parts);
    twins.end();
    return disagreement(twins, ['whole', 'parts'], ['at once', `in parts of ${part}`]);
  },
};

function spanned(kit: Kit): MapRegion[] {
  return kit.map.regions.filter(
    ({ kind, layout, stride, sizes, smallest }) =>
      kind === 'registers' &&
      layout !== undefined &&
      stride === layout.width &&
      smallest <= layout.width &&
      sizes.includes(layout.width) &&
      sizes.some((size) => size > layout.width),
  );
}

/** The place a case's numbers choose, if no register in it is wider than the parts. */
function spanOf(kit: Kit, c: Case): { place: Place; part: number } | undefined {
  const regions = spanned(kit);
  const [choice, , where] = c.numbers as [number, number, number];
  const region = regions[(choice >>> 3) % regions.length] as MapRegion;
  const { layout } = region;
  if (!layout) return undefined;
  const sizes = region.sizes.filter((size) => size > layout.width);
  const size = sizes[(choice >>> 1) % sizes.length] as number;
  const offset = size * (where % Math.floor(region.size / size));
  const wide = layout.rows.some(
    ({ offset: at, width, door }) =>
      door !== 'behind' && width > layout.width && at < offset + size && offset < at + width,
  );
  return wide ? undefined : { place: { region: region.index, offset, size }, part: layout.width };
}
