// Regions whose addresses the guest programs. Nothing here throws at the guest: a bad address leaves
// the region undecoded and is the guest's error.
import type { Space } from '../backend/backend.js';
import { ALL_WIDTHS, rangeProblem, rangeText } from '../bus/range.js';
import { WidthAdapter } from '../bus/width-adapter.js';
import type { RegionMember } from '../device/handler.js';
import { isHandler } from '../device/metadata.js';
import { REGISTERS } from '../device/register-types.js';
import { isRegisters } from '../device/registers.js';
import { Decoder, type DynamicRegion } from '../device/tokens.js';
import { TraplineError } from '../errors.js';
import type { ClientRange, IoreqClient } from '../ioreq/client.js';
import type { RangeSet } from '../ioreq/range-set.js';
import type { Log } from '../log.js';
import { REGISTER_RULE } from './regions.js';

/** The {@link Decoder} of one device. */
export class DeviceDecoder extends Decoder {
  constructor(
    private readonly client: IoreqClient,
    private readonly log: Log,
    private readonly set: () => RangeSet,
  ) {
    super();
  }

  region(name: string, space: Space, size: number, member: RegionMember): DynamicRegion {
    const block = isRegisters(member) ? member[REGISTERS] : undefined;
    const handler = block ?? (isHandler(member) ? member : undefined);
    if (!handler) {
      throw new TraplineError('TL_RANGE', 'is neither registers nor a handler', { who: `${this.client.name}.${name}` });
    }
    const unit = block?.layout.width ?? 1;
    const adapter = new WidthAdapter(
      handler,
      size,
      unit,
      block ? REGISTER_RULE : {},
      {},
      { stride: undefined, endian: 'little' },
    );
    return new Region(this.client, this.log, this.set, name, space, adapter);
  }
}

class Region implements DynamicRegion {
  private range: ClientRange | undefined;

  constructor(
    private readonly client: IoreqClient,
    private readonly log: Log,
    private readonly set: () => RangeSet,
    private readonly name: string,
    private readonly space: Space,
    private readonly adapter: WidthAdapter,
  ) {}

  get base(): number | undefined {
    return this.range?.base;
  }

  map(base: number): void {
    if (this.range?.base === base) return;
    this.unmap();
    // A device that has failed, or left the machine, claims nothing new.
    if (this.client.failure) return;
    const range: ClientRange = {
      space: this.space,
      base,
      size: this.adapter.size,
      widths: ALL_WIDTHS,
      dynamic: true,
      owner: `${this.client.name}.${this.name}`,
      client: this.client,
      region: this.name,
      adapter: this.adapter,
    };
    const problem = rangeProblem(range);
    if (problem) {
      this.log.guestError(`${this.name} cannot be decoded: ${problem.what}`);
      return;
    }
    for (const shadow of this.set().add([range])) {
      this.log.guestError(`${rangeText(shadow.range)} of ${shadow.range.owner} lies under ${shadow.under.owner}`);
    }
    this.range = range;
  }

  unmap(): void {
    const { range } = this;
    if (!range) return;
    this.range = undefined;
    this.set().remove((other) => other === range);
  }
}
