import { hex, messageOf, type TraplineError } from '../errors.js';
import { SafeEmitter } from '../events.js';
import type { ClientRange } from '../ioreq/client.js';
import type { UnclaimedAccess } from '../ioreq/default-client.js';
import type { GuestReport, LogSink } from '../log.js';
import type { VmEvents } from './vm-types.js';

/** What a machine tells the host: its events, and its lines of the log. */
export class VmReports {
  readonly events = new SafeEmitter<VmEvents>((event, thrown) =>
    this.log('error', `a listener of ${event} threw: ${messageOf(thrown)}`),
  );
  /** Where the machine logs to; it never throws. */
  readonly logSink: LogSink;

  constructor(sink: LogSink | undefined) {
    this.logSink = (record) => {
      try {
        sink?.(record);
      } catch {
        // A log that fails must not become the guest's problem, and there is nowhere left to say so.
      }
    };
  }

  log(level: 'warn' | 'error', message: string): void {
    this.logSink({ level, who: 'core', message });
  }

  unclaimed(access: UnclaimedAccess): void {
    const { vcpu, direction, space, address, size } = access;
    this.log('warn', `nobody claims the ${direction} of ${size} at ${space} ${hex(address)} by vCPU ${vcpu}`);
    this.events.emit('access:unclaimed', access);
  }

  straddle({ client, region }: ClientRange, write: boolean, address: number, size: number): void {
    const direction = write ? 'write' : 'read';
    this.events.emit('access:straddle', { device: client.name, region, direction, address, size });
  }

  /** What a device says of its guest. */
  ofGuest(device: string): GuestReport {
    return (about, message) =>
      this.events.emit(about === 'guest-error' ? 'guest:error' : 'guest:unimplemented', { device, message });
  }

  failed(error: TraplineError): void {
    const message = `${error.what}; it answers all ones from now on`;
    this.logSink({ level: 'error', who: error.who, message, error });
    this.events.emit('device:failed', { device: error.who, error });
  }

  notClosed(failures: readonly unknown[]): void {
    for (const thrown of failures) this.log('error', `while closing: ${messageOf(thrown)}`);
  }
}
