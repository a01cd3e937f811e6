import type { Space } from '../backend/backend.js';

/** One served access, as a trace shows it. */
export interface TraceRecord {
  readonly vcpu: number;
  /** The client's name; `default` for the default client. */
  readonly client: string;
  readonly region: string;
  readonly space: Space;
  readonly direction: 'read' | 'write';
  readonly address: number;
  readonly size: number;
  /** Low 32 bits, unsigned. */
  readonly value: number;
  readonly valueHigh: number;
  /** Levels of the device's interrupt lines after the access, by name. */
  readonly lines: Readonly<Record<string, boolean>>;
}

/** What to trace; everything that is left out matches. */
export interface TraceFilter {
  /** Instance id. */
  readonly device?: string;
  readonly space?: Space;
  /** First and last address, both included. */
  readonly addresses?: readonly [first: number, last: number];
  readonly direction?: 'read' | 'write';
}

/** Receives each traced access, after it was served and before it completes. */
export type TraceSink = (record: TraceRecord) => void;

/** Does a record match? */
export function traceMatches(filter: TraceFilter, record: TraceRecord): boolean {
  return (
    (filter.device === undefined || filter.device === record.client) &&
    (filter.space === undefined || filter.space === record.space) &&
    (filter.direction === undefined || filter.direction === record.direction) &&
    (filter.addresses === undefined ||
      (record.address + record.size - 1 >= filter.addresses[0] && record.address <= filter.addresses[1]))
  );
}
