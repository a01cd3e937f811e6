// What every backend is whose vCPUs are threads of the addon: running, pausing, resetting and closing them.
import {
  type Backend,
  type BackendCapabilities,
  type BackendHost,
  type GuestMemory,
  type IoreqGroup,
  type MmioDevice,
  messageOf,
  RegionMemory,
  TraplineError,
} from '@trapline/core';
import { EVENT, type NativeSession, type NativeStop } from './addon.js';
import { NativeSource } from './ioreq-source.js';

/** Calls into the addon; its errors come out as ours. */
export function native<T>(
  who: string,
  code: 'TL_BACKEND_UNAVAILABLE' | 'TL_BACKEND_FAILED',
  call: () => T,
  what: string,
): T {
  try {
    return call();
  } catch (thrown) {
    throw new TraplineError(code, `${what}: ${messageOf(thrown)}`, { who, cause: thrown });
  }
}

interface Pending {
  readonly promise: Promise<void>;
  resolve(): void;
  reject(error: TraplineError): void;
}

function pending(): Pending {
  let resolve: () => void = () => undefined;
  let reject: (error: TraplineError) => void = () => undefined;
  const promise = new Promise<void>((yes, no) => {
    resolve = yes;
    reject = no;
  });
  return { promise, resolve, reject };
}

/** A machine of the addon as a backend, but for interrupts, passthrough and why it fails. */
export abstract class NativeBackend<S extends NativeSession> implements Backend {
  readonly memory: GuestMemory;
  readonly ioreq: NativeSource;
  private readonly ram: RegionMemory;
  private host: BackendHost | undefined;
  private pausing: Pending | undefined;
  private resetting: Pending | undefined;
  protected closed = false;

  constructor(
    readonly name: string,
    protected readonly session: S,
    group: IoreqGroup,
    readonly capabilities: BackendCapabilities,
    protected readonly hasGuest: boolean,
  ) {
    this.ram = new RegionMemory(session.ram.map(({ base, buffer }) => ({ base, bytes: new Uint8Array(buffer) })));
    this.memory = this.ram;
    this.ioreq = new NativeSource(session, group);
  }

  abstract setIrqLine(gsi: number, level: boolean): void;
  abstract signalMsi(address: number, data: number): void;
  abstract assignMmioDevice(device: MmioDevice): void;
  abstract deassignMmioDevice(device: MmioDevice): void;
  /** Why a machine failed. */
  protected abstract failure(stop: NativeStop): TraplineError;

  connect(host: BackendHost): void {
    this.host = host;
  }

  run(): void {
    if (this.closed) throw this.error('TL_VM_CLOSED', 'the machine is closed');
    if (this.resetting) throw this.error('TL_VM_STATE', 'the machine is being reset');
    // Whoever runs a machine that is just being paused no longer waits for it to rest.
    this.settlePause();
    if (this.hasGuest) this.session.run();
    // Nothing runs without a guest; the machine waits for close(), as it would on any backend.
    else this.session.keepAlive(true);
  }

  pause(): Promise<void> {
    if (this.pausing) return this.pausing.promise;
    if (this.closed || this.resetting || this.session.pause()) return Promise.resolve();
    this.pausing = pending();
    return this.pausing.promise;
  }

  letExit(): void {
    this.session.keepAlive(false);
  }

  reset(): Promise<void> {
    if (this.closed) return Promise.reject(this.error('TL_VM_CLOSED', 'the machine is closed'));
    if (this.resetting) return this.resetting.promise;
    if (!this.session.resting()) {
      return Promise.reject(this.error('TL_VM_STATE', 'a running vCPU cannot be reset'));
    }
    this.resetting = pending();
    this.session.reset();
    return this.resetting.promise;
  }

  async close(): Promise<void> {
    if (this.closed) return;
    this.closed = true;
    this.session.close();
    this.ram.close();
    this.settlePause();
    this.resetting?.reject(this.error('TL_VM_CLOSED', 'the machine was closed'));
    this.resetting = undefined;
  }

  /** Called by the addon on this thread's event loop. */
  onEvents(events: number): void {
    if (events & EVENT.resetDone) this.onReset();
    // An old announcement may arrive after another run and pause: ask.
    if (events & EVENT.resting && this.pausing && this.session.resting()) this.settlePause();
    if (events & EVENT.stopped && !this.closed) {
      const stop = this.session.stop();
      if (stop) this.onStop(stop);
    }
  }

  protected error(code: 'TL_VM_CLOSED' | 'TL_VM_STATE' | 'TL_BACKEND_FAILED', what: string): TraplineError {
    return new TraplineError(code, what, { who: this.name });
  }

  private onReset(): void {
    const done = this.resetting;
    this.resetting = undefined;
    const error = this.session.resetError();
    if (error === '') done?.resolve();
    else done?.reject(this.error('TL_BACKEND_FAILED', `the vCPUs cannot be reset: ${error}`));
  }

  private onStop(stop: NativeStop): void {
    if (stop.reason === 'reset') {
      this.host?.resetRequested();
      return;
    }
    if (stop.reason === 'failed') this.host?.stopped('backend-failed', { error: this.failure(stop) });
    else this.host?.stopped(stop.reason);
  }

  private settlePause(): void {
    const done = this.pausing;
    this.pausing = undefined;
    done?.resolve();
  }
}
