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

  constructor(private readonly now: () => number) {}

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
  inbox(device: string, guard: (what: string, run: () => void) => void): Inbox {
    const queue = this;
    return new (class extends Inbox {
      port<T>(name: string, deliver: (payload: T) => void): (payload: T) => void {
        const key = `${device}\0${name}`;
        if (queue.ports.has(key)) {
          throw new TraplineError('TL_DEVICE_CONSTRUCTOR', `opens the inbox port ${name} twice`, { who: device });
        }
        queue.ports.set(key, (payload) => guard(`inbox port ${name}`, () => deliver(payload as T)));
        return (payload) => {
          if (!queue.replaying) queue.post({ at: queue.now(), device, port: name, payload });
        };
      }
    })();
  }

  /** Drops the ports of a device; what is still waiting for it is dropped on delivery. */
  removeDevice(device: string): void {
    for (const key of this.ports.keys()) if (key.startsWith(`${device}\0`)) this.ports.delete(key);
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
        this.ports.get(`${event.device}\0${event.port}`)?.(event.payload);
        if (this.paused) return;
      }
    } finally {
      this.busy--;
    }
  }
}
