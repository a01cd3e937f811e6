// What the kit knows of a device before it touches it: regions, registers, and how a guest reaches them.
import { compileLayout } from '../../device/compiled-layout.js';
import { type Layout, type LayoutRow, maskOf } from '../../device/layout.js';
import type { RegisterBlock, RowHooks } from '../../device/register-block.js';
import { isServed } from '../../device/service.js';
import type { ClientRange } from '../../ioreq/client.js';
import type { DrivenMachine } from '../driven-machine.js';
import { busOffset } from '../guest-registers.js';
import { blockOf, hooksOf } from '../promises.js';

/** One region of a device. */
export interface MapRegion {
  /** Place in the device's list. */
  readonly index: number;
  /** Member name; empty for the class. */
  readonly name: string;
  readonly space: 'pio' | 'mmio';
  /** Bytes on the bus. */
  readonly size: number;
  /** Bytes as its handler sees them. */
  readonly deviceSize: number;
  /** Made by `registers()`, by `latch()` and its like, or written by hand. */
  readonly kind: 'registers' | 'served' | 'handler';
  /** Its own, or the one the settings say it follows. */
  readonly layout: Layout | undefined;
  /** Sizes the guest may use at all. */
  readonly sizes: readonly number[];
  /** Bytes on the bus from one register to the next. */
  readonly stride: number;
  /** Smallest access its handler takes. */
  readonly smallest: number;
  /** Largest one: wider accesses reach the handler in pieces. */
  readonly largest: number;
  /** Only some access sizes are decoded here. */
  readonly qualified: boolean;
}

/** A register the guest reaches with one access of its width. */
export interface MapRegister {
  readonly region: MapRegion;
  readonly row: LayoutRow;
  /** Index of the row in its layout. */
  readonly r: number;
  /** Bytes from the region's start, on the bus. */
  readonly offset: number;
  readonly width: number;
  /** Bits by access mode. */
  readonly masks: RegisterMasks;
  /** Which hooks it has; of a handler written by hand every one is assumed. */
  readonly hooks: { readonly read: boolean; readonly write: boolean; readonly peek: boolean };
  /** Has it fields whose values are named? A write of another value is refused. */
  readonly named: boolean;
}

/** The bits of a register, by access mode; unsigned. */
export interface RegisterMasks {
  /** What the guest writes never arrives: `ro rc const reserved`, and bits no field has. */
  readonly ignored: number;
  readonly w1c: number;
  readonly w1s: number;
  readonly w0c: number;
  readonly rc: number;
  readonly wo: number;
  /** `const` and `reserved`: they read as the reset value. */
  readonly fixed: number;
  /** Stored as written. */
  readonly stored: number;
}

/** A device as the kit sees it. */
export interface DeviceMap {
  /** The device's type. */
  readonly type: string;
  /** Regions the kit can access; those that defer are left out. */
  readonly regions: readonly MapRegion[];
  readonly registers: readonly MapRegister[];
  /** Names of regions that wait for promises. */
  readonly deferred: readonly string[];
  readonly hasResources: boolean;
}

export function mapDevice(machine: DrivenMachine, layouts: Readonly<Record<string, Layout>>): DeviceMap {
  const { inside } = machine;
  const regions: MapRegion[] = [];
  const registers: MapRegister[] = [];
  const deferred: string[] = [];
  for (const [index, range] of inside.ranges.entries()) {
    if (range.deferred) {
      deferred.push(range.region || inside.plan.metadata.className);
      continue;
    }
    const block = blockOf(inside, range.region);
    const layout = block?.layout ?? layouts[range.region];
    const declared = inside.plan.metadata.regions.find(({ member }) => (member ?? '') === range.region)?.options;
    const place = inside.plan.places.get(range.region);
    const region: MapRegion = {
      index,
      name: range.region,
      space: range.space,
      size: range.size,
      deviceSize: declared?.size ?? block?.layout.size ?? range.size,
      kind: block ? 'registers' : isServed(range.adapter.handler) ? 'served' : 'handler',
      layout,
      sizes: [1, 2, 4, 8].filter((size) => usable(range, size)),
      stride: place?.stride ?? layout?.width ?? 1,
      smallest: declared?.impl?.min ?? 1,
      largest: declared?.impl?.max ?? 4,
      qualified: declared?.widths !== undefined,
    };
    regions.push(region);
    if (layout && place?.endian !== 'big') registers.push(...registersOf(region, layout, block));
  }
  const { type } = inside.plan.metadata;
  return { type, regions, registers, deferred, hasResources: inside.plan.resources.length > 0 };
}

function usable(range: ClientRange, size: number): boolean {
  const decoded = (range.widths & size) !== 0 && (size < 8 || range.space === 'mmio');
  return decoded && size <= range.size && range.adapter.isValid(size, 0);
}

function registersOf(region: MapRegion, layout: Layout, block: RegisterBlock | undefined): MapRegister[] {
  const compiled = compileLayout(layout);
  const { stride } = region;
  const found: MapRegister[] = [];
  for (const [r, row] of layout.rows.entries()) {
    if (row.door === 'data') continue;
    // Banks and indexes of a handler written by hand cannot be looked at without disturbing it.
    if (!block && (row.door !== 'none' || layout.bankRow >= 0)) continue;
    const door = row.door === 'behind' ? layout.rows.find((d) => d.door === 'data' && d.group === row.group) : row;
    if (!door || row.width !== door.width) continue;
    if (stride !== layout.width && row.width > layout.width) continue;
    const offset = busOffset(layout, door.offset, stride);
    if (!region.sizes.includes(row.width) || row.width > region.largest) continue;
    const bits = (of: Int32Array) => (of[r] as number) >>> 0;
    const { masks } = compiled;
    const all = Object.values(masks).reduce((sum, of) => (sum | bits(of)) >>> 0, 0);
    const hooks = block ? hooksOf(block)[r] : undefined;
    const has = (hook: keyof RowHooks) => !block || hooks?.[hook] !== undefined;
    const ignored = bits(masks.ro) | bits(masks.rc) | bits(masks.const) | bits(masks.reserved);
    found.push({
      region,
      row,
      r,
      offset,
      width: row.width,
      masks: {
        ignored: (ignored | (maskOf(row.width) & ~all)) >>> 0,
        w1c: bits(masks.w1c),
        w1s: bits(masks.w1s),
        w0c: bits(masks.w0c),
        rc: bits(masks.rc),
        wo: bits(masks.wo),
        fixed: (bits(masks.const) | bits(masks.reserved)) >>> 0,
        stored: (bits(masks.rw) | bits(masks.wo) | bits(masks.unimplemented)) >>> 0,
      },
      hooks: { read: has('read'), write: has('write'), peek: has('peek') },
      named: (compiled.enums[r]?.length ?? 0) > 0,
    });
  }
  return found;
}
