import { Inbox } from '../device/tokens.js';
import { TraplineError } from '../errors.js';

/** One outside event, as it entered the machine. */
export interface OutsideEvent {
  /** Machine time in ms. */
  readonly at: number;
  readonly device: string;
  readonly port: string;
  readonly payload: unknown;
}

/**
 * The one queue through which the outside reaches a machine. Events are stamped with machine time
 * and delivered in order, between accesses: never while a handler runs.
 */
export class EventQueue {
  private readonly pending: OutsideEvent[] = [];
  private readonly ports = new Map<string, (payload: unknown) => void>();
  private busy = 0;
  private paused = true;
  private readonly recorders = new Set<(event: OutsideEvent) => void>();
  /** Set while a recording is replayed: live events are ignored then. */
  replaying = false;
  delivered = 0;

  constructor(readonly now: () => number) {}

  /** Events wait while the machine is paused; delivered when it resumes. */
  pause(): void {
    this.paused = true;
  }
  resume(): void {
    this.paused = false;
    this.drain();
  }

  /** Brackets the service of requests: events posted meanwhile wait for `leave`. */
  enter(): void {
    this.busy++;
  }
  leave(): void {
    this.busy--;
    if (this.pending.length > 0) this.drain();
  }

  get waiting(): number {
    return this.pending.length;
  }

  /** Hears every event as it enters. @returns stops it */
  record(sink: (event: OutsideEvent) => void): () => void {
    this.recorders.add(sink);
    return () => this.recorders.delete(sink);
  }

  /** The {@link Inbox} of one device. `guard` runs a delivery as that device. */
  inbox(device: string, guard: (what: string, run: () => void) => void): DeviceInbox {
    return new DeviceInbox(device, guard, this);
  }

  /** Opens a port of a device. @returns false if it is open already */
  openPort(device: string, port: string, deliver: (payload: unknown) => void): boolean {
    const key = keyOf(device, port);
    if (this.ports.has(key)) return false;
    this.ports.set(key, deliver);
    return true;
  }

  /** Closes the ports of a device, and drops what waits for it: who gets its id later must not get that, too. */
  removeDevice(device: string): void {
    for (const key of this.ports.keys()) if (key.startsWith(keyOf(device, ''))) this.ports.delete(key);
    const others = this.pending.filter((event) => event.device !== device);
    if (others.length < this.pending.length) this.pending.splice(0, this.pending.length, ...others);
  }

  /** Enters an event: a live one, or one of a recording. */
  post(event: OutsideEvent): void {
    for (const recorder of this.recorders) {
      try {
        recorder(event);
      } catch {
        // Whoever listens must not keep the event from the machine, nor reach the one that posts it.
      }
    }
    this.pending.push(event);
    this.drain();
  }

  private drain(): void {
    if (this.busy > 0 || this.paused) return;
    this.busy++;
    try {
      for (let event = this.pending.shift(); event; event = this.pending.shift()) {
        this.delivered++;
        this.ports.get(keyOf(event.device, event.port))?.(event.payload);
        if (this.paused) return;
      }
    } finally {
      this.busy--;
    }
  }
}

/** The way in for one device, until it leaves. */
export class DeviceInbox extends Inbox {
  private ended = false;

  constructor(
    private readonly device: string,
    private readonly guard: (what: string, run: () => void) => void,
    private readonly queue: EventQueue,
  ) {
    super();
  }

  port<T>(name: string, deliver: (payload: T) => void): (payload: T) => void {
    const { device, queue } = this;
    const guarded = (payload: unknown) => this.guard(`inbox port ${name}`, () => deliver(payload as T));
    if (!this.ended && !queue.openPort(device, name, guarded)) {
      throw new TraplineError('TL_DEVICE_CONSTRUCTOR', `opens the inbox port ${name} twice`, { who: device });
    }
    return (payload) => {
      // The host's side may go on when the device has left; another may have its id by then.
      if (!this.ended && !queue.replaying) queue.post({ at: queue.now(), device, port: name, payload });
    };
  }

  /** The device leaves the machine: what is posted from now on, and what waits, is dropped. */
  end(): void {
    if (this.ended) return;
    this.ended = true;
    this.queue.removeDevice(this.device);
  }
}

function keyOf(device: string, port: string): string {
  return `${device}\0${port}`;
}
