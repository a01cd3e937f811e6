// Devices that come and go, for tests: cards, a disk with a host resource, one that can do everything.
import { z } from 'zod';
import { pio } from '../src/device/attachment.js';
import { timer, u8 } from '../src/device/cells.js';
import { Device, Irq, Pio } from '../src/device/decorators.js';
import type { AsyncIoHandler, IoHandler } from '../src/device/handler.js';
import { hostResource, resourceOption } from '../src/device/host-resource.js';
import { state } from '../src/device/state.js';
import { Clock, Decoder, GuestMemory, Inbox, IrqLine, MachineControl, Msi, Options } from '../src/device/tokens.js';
import { use } from '../src/machine/define.js';
import type { ResetKind } from '../src/machine/device-instance.js';
import { type BootOptions, boot } from './machine.js';

export const CardOptions = z.object({ id: z.number().default(7) });

/** A card with a register, a line, a timer and an inbox. */
@Device({ type: 'card', summary: 'can be plugged', irq: 5, options: CardOptions })
@Pio({ base: 0x80, size: 2 })
export class Card implements IoHandler {
  readonly calls: string[] = [];
  readonly state = state({ n: u8(), tick: timer(() => this.calls.push('tick')) });
  readonly post: (payload: string) => void;
  act: () => void = () => {};
  constructor(
    readonly irq: IrqLine,
    readonly clock: Clock,
    inbox: Inbox,
    readonly options: Options<z.output<typeof CardOptions>>,
  ) {
    this.post = inbox.port('rx', (payload: string) => this.calls.push(`rx ${payload}`));
  }
  read(offset: number) {
    this.act();
    return offset === 0 ? this.options.id : this.state.n;
  }
  write(_offset: number, _size: number, value: number) {
    this.act();
    this.state.n = value;
  }
  onReset(kind: ResetKind) {
    this.calls.push(`reset ${kind}`);
  }
  onPause() {
    this.calls.push('pause');
  }
  onResume() {
    this.calls.push('resume');
  }
}

export class Port implements IoHandler {
  /** Called by each write. */
  act: () => void = () => {};
  read() {
    return 1;
  }
  write() {
    this.act();
  }
}

/** What is always there. */
@Device({ type: 'board', summary: 'does what the test says when it is written to' })
@Pio({ base: 0x10, size: 1 })
export class Board extends Port {}

/** A running machine with a board, and what it tells of devices that come and go. */
export function machine(options: Omit<BootOptions<never>, 'before'> = {}) {
  const booted = boot({ board: use(Board) }, options);
  const events: string[] = [];
  booted.vm.on('device:attached', ({ device }) => events.push(`attached ${device}`));
  booted.vm.on('device:detached', ({ device }) => events.push(`detached ${device}`));
  return { ...booted, events };
}

export const DiskOptions = z.object({
  disk: resourceOption<string>('disk'),
  more: resourceOption<string>('disk').optional(),
});
@Device({ type: 'disk', summary: 'has a host resource', options: DiskOptions })
@Pio({ base: 0x90, size: 1 })
export class Disk implements IoHandler {
  constructor(readonly options: Options<z.output<typeof DiskOptions>>) {}
  read() {
    return this.options.disk.length;
  }
  write() {}
}

@Device({ type: 'mover', summary: 'has a region the guest programs' })
export class Mover {
  readonly region;
  constructor(decoder: Decoder) {
    this.region = decoder.region('bar', 'pio', 1, { read: () => 1, write: () => {} });
  }
}

@Device({ type: 'busmaster', summary: 'can do everything to its machine', irq: 5 })
export class Busmaster {
  readonly calls: string[] = [];
  readonly state = state({ n: u8(), tick: timer(() => this.calls.push('tick')) });
  readonly region;
  readonly post: (payload: number) => void;
  answer: (value: number) => void = () => {};
  inHandler: () => void = () => {};
  @Pio({ base: 0x20, size: 4, impl: { max: 1 } }) readonly plain: IoHandler = {
    read: () => {
      this.inHandler();
      return 2;
    },
    write: () => this.inHandler(),
  };
  @Pio({ base: 0x28, size: 1, defer: true }) readonly slow: AsyncIoHandler = {
    read: () => {
      this.inHandler();
      return new Promise<number>((resolve) => {
        this.answer = resolve;
      });
    },
    write: () => {},
  };
  constructor(
    readonly irq: IrqLine,
    @Irq('b', { default: 6 }) readonly second: IrqLine,
    readonly msi: Msi,
    readonly memory: GuestMemory,
    readonly clock: Clock,
    readonly machine: MachineControl,
    readonly inbox: Inbox,
    decoder: Decoder,
  ) {
    this.region = decoder.region('bar', 'pio', 1, { read: () => 3, write: () => {} });
    this.post = inbox.port('rx', (payload: number) => this.calls.push(`rx ${payload}`));
  }
  onPause() {
    this.calls.push('pause');
  }
}

/** Host resources that write down what is done to them. */
export function resources() {
  const done: string[] = [];
  const make = (
    name: string,
    open: (signal: AbortSignal) => string | Promise<string> = () => name,
    close: () => void | Promise<void> = () => {},
  ) =>
    hostResource<string>(
      name,
      (signal) => {
        done.push(`open ${name}`);
        return open(signal);
      },
      async () => {
        done.push(`close ${name}`);
        await close();
      },
    );
  return { done, make };
}

/** A promise in the test's hands. */
export function gate<T = void>() {
  let open = (_value: T) => {};
  const passed = new Promise<T>((resolve) => {
    open = resolve;
  });
  return { open, passed };
}

/** A disk at a port. */
export const diskAt = (port: number, disk: ReturnType<typeof hostResource<string>>) =>
  use(Disk, { at: pio(port), disk });
