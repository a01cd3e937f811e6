import type { Backend, BackendHost, ExitReason } from '../backend/backend.js';
import type { Clock, GuestMemory, Random } from '../device/tokens.js';
import { MachineControl } from '../device/tokens.js';
import { CompositionError, hex, isA, messageOf, TraplineError } from '../errors.js';
import { SafeEmitter } from '../events.js';
import type { DefaultCounters, UnclaimedAccess } from '../ioreq/default-client.js';
import type { HandlerWatch } from '../ioreq/handler-watch.js';
import type { TraceFilter, TraceSink } from '../ioreq/trace.js';
import type { LogSink } from '../log.js';
import { HostClock, hostTime, MachineClock } from './clock.js';
import { Composition, LateClock, LateMemory, LateMsi, type OpenedResources } from './composition.js';
import type { DeviceUses, InstancesOf, Machine } from './define.js';
import type { DeviceInstance, ResetKind } from './device-instance.js';
import { defaultLineMode, type LineMode } from './interrupts.js';
import { IoPath } from './io-path.js';
import { OneAtATime } from './one-at-a-time.js';
import type { MachinePlan } from './plan.js';
import { type Pumped, pump } from './pump.js';
import { HostRandom } from './random.js';
import { checkSnapshot, saveMemory } from './snapshot.js';
import type { DeviceCounters, MapRow, Snapshot, VmEvents, VmExit, VmState } from './vm-types.js';

/** Host services of one machine; what is left out is the host's own. */
export interface VmServices {
  readonly log?: LogSink;
  readonly random?: Random;
  /** Machine time; by default the backend's, or else the host's. */
  readonly clock?: MachineClock;
  /** Deadlines of deferred accesses are off. */
  readonly debugging?: boolean;
  /** Time every n-th access (a power of two); 0, the default, none. */
  readonly sampleEvery?: number;
  /** Watches device code that does not return. One of this machine's own: it sees one machine only. */
  readonly watch?: HandlerWatch;
}

const QUIESCE_MS = 5000;
const asyncDispose: typeof Symbol.asyncDispose = Symbol.asyncDispose ?? Symbol.for('Symbol.asyncDispose');

/** A composed machine. Made by `start()`. */
export class Vm<D extends DeviceUses = DeviceUses> {
  private readonly events = new SafeEmitter<VmEvents>((event, thrown) =>
    this.logSink({ level: 'error', who: 'core', message: `a listener of ${event} threw: ${messageOf(thrown)}` }),
  );
  /** Where this machine logs to; it never throws. */
  readonly logSink: LogSink;
  private readonly memoryPort = new LateMemory();
  private readonly clockPort = new LateClock();
  private readonly msiPort = new LateMsi();
  private readonly io: IoPath;
  private readonly composition: Composition;
  private openBackend: Backend | undefined;
  private machineClock: MachineClock | undefined;
  private pumped: Pumped | undefined;
  private current: VmState = 'created';
  private readonly changes = new OneAtATime();
  /** Machine time runs and devices are awake. */
  private lively = false;
  private resetWanted = false;
  private told = false;
  private closing: Promise<void> | undefined;
  private ended: VmExit | undefined;
  private readonly waiters: ((exit: VmExit) => void)[] = [];

  constructor(
    readonly machine: Machine<D>,
    private readonly plan: MachinePlan,
    private readonly services: VmServices,
    /** Host resources of the machine, in the order they were opened; the machine closes them. */
    private readonly opened: OpenedResources = new Map(),
  ) {
    this.logSink = (record) => {
      try {
        services.log?.(record);
      } catch {
        // A log that fails must not become the guest's problem, and there is nowhere left to say so.
      }
    };
    const vm = this;
    const control = new (class extends MachineControl {
      exit(code: number): void {
        // Now: what is no number costs the device, not the machine.
        const exit: VmExit = { reason: 'exit', code: code & 0xff };
        vm.io.soon(() => vm.finish(exit));
      }
      powerOff(): void {
        vm.io.soon(() => vm.finish({ reason: 'power-off' }));
      }
      reset(): void {
        vm.io.soon(() => vm.resetSoon());
      }
    })();
    this.io = new IoPath(
      {
        unclaimed: (access) => this.reportUnclaimed(access),
        straddle: (range, write, address, size) =>
          this.events.emit('access:straddle', {
            device: range.client.name,
            region: range.region,
            direction: write ? 'write' : 'read',
            address,
            size,
          }),
        failed: (error) => this.deviceFailed(error),
        fatal: (error) => this.io.soon(() => this.finish({ reason: 'backend-failed', error })),
        lines: (client) => this.composition.levels(client.name),
        now: () => this.clockPort.now(),
      },
      {
        defaults: machine.defaults ?? {},
        debugging: services.debugging ?? false,
        sampleEvery: services.sampleEvery ?? 0,
        watch: services.watch,
      },
    );
    services.watch?.connect((error) => this.io.soon(() => this.finish({ reason: 'backend-failed', error })));
    this.composition = new Composition({
      memory: this.memoryPort,
      clock: this.clockPort,
      control,
      msi: this.msiPort,
      random: services.random ?? new HostRandom(),
      queue: this.io.queue,
      ranges: () => this.io.dispatcher.set,
      marks: this.io.dispatcher.marks,
      logSink: this.logSink,
      report: (device) => (about, message) =>
        this.events.emit(about === 'guest-error' ? 'guest:error' : 'guest:unimplemented', { device, message }),
      failed: (client, error) => this.io.dispatcher.disable(client, error),
    });
  }

  /** The device instances, by id. One whose constructor threw is absent. */
  get devices(): InstancesOf<D> {
    return Object.fromEntries(
      [...this.composition.devices].map(([id, device]) => [id, device.instance]),
    ) as InstancesOf<D>;
  }
  get state(): VmState {
    return this.current;
  }
  get memory(): GuestMemory {
    return this.memoryPort;
  }
  get clock(): Clock {
    return this.clockPort;
  }
  /** @throws TraplineError `TL_VM_STATE` before the machine was opened */
  get backend(): Backend {
    if (this.openBackend) return this.openBackend;
    throw new TraplineError('TL_VM_STATE', 'the machine has no backend yet');
  }

  on<K extends keyof VmEvents>(event: K, listener: (...args: VmEvents[K]) => void): this {
    this.events.on(event, listener);
    return this;
  }
  once<K extends keyof VmEvents>(event: K, listener: (...args: VmEvents[K]) => void): this {
    this.events.once(event, listener);
    return this;
  }
  off<K extends keyof VmEvents>(event: K, listener: (...args: VmEvents[K]) => void): this {
    this.events.off(event, listener);
    return this;
  }

  /** Constructs the devices and decodes their ranges. @throws CompositionError with every problem */
  compose(): void {
    const problems: TraplineError[] = [];
    this.composition.construct(this.plan.devices, this.opened, problems);
    if (problems.length > 0) throw new CompositionError(problems);
    this.io.dispatcher.set.add(this.composition.ranges());
  }

  /** Constructs the devices with stand-ins for host resources and gives the address map: for `check`. */
  preview(problems: TraplineError[]): MapRow[] {
    // A device that cannot be injected cannot be looked at either; one with a bad option can.
    const sound = this.plan.devices.filter(
      ({ id }) => !problems.some(({ who, code }) => who === id && code === 'TL_INJECT'),
    );
    this.composition.construct(sound, undefined, problems);
    const told = new Set(problems.map(({ who }) => who));
    problems.push(...[...this.composition.broken.values()].filter(({ who }) => !told.has(who)));
    if (problems.length === 0) this.io.dispatcher.set.add(this.composition.ranges());
    return this.map();
  }

  /** Connects an opened backend and starts the machine. */
  run(backend: Backend): void {
    this.must('created');
    this.openBackend = backend;
    this.memoryPort.target = backend.memory;
    this.machineClock = this.services.clock ?? (backend.clock ? undefined : new HostClock());
    this.clockPort.target = this.machineClock ?? backend.clock;
    this.msiPort.target = (address, data) => backend.signalMsi(address, data);
    const source = backend.ioreq;
    if (source) {
      this.io.connect(source);
      // A machine the pump knows lives until it is closed: only those go there that need it.
      if (!source.immediate) {
        const failed = (thrown: unknown) => this.finish({ reason: 'backend-failed', error: backendError(thrown) });
        this.pumped = { source, failed, serve: (claimed) => this.io.serve(claimed) };
      }
    }
    backend.connect(this.host());
    this.composition.lines.connect((line, level) => backend.setIrqLine(line, level));
    for (const error of this.composition.broken.values()) this.deviceFailed(error);
    this.io.uninterrupted(() => {
      // A listener may have closed the machine, at any of these.
      for (const device of this.composition.devices.values()) if (!this.ended) device.reset('power');
      if (!this.ended) this.go();
    });
  }

  /** Stops the vCPUs; resolves when none executes. Outside events wait. */
  pause(): Promise<void> {
    return this.changes.run(() => this.stopCpus());
  }

  /** Goes on after {@link pause}. */
  resume(): void {
    this.must('paused');
    if (this.changes.busy) throw new TraplineError('TL_VM_STATE', 'the machine is being paused, saved or reset: wait');
    this.go();
  }

  /** Resets CPUs and devices, as a reset button does; a paused machine stays paused. */
  reset(kind: ResetKind = 'bus'): Promise<void> {
    return this.whilePaused(async () => {
      await this.quiesce('reset');
      await this.backend.reset();
      this.must('paused');
      this.resetWanted = false;
      this.io.uninterrupted(() => {
        for (const device of this.composition.devices.values()) device.reset(kind);
      });
      this.events.emit('reset', kind);
    });
  }

  /** How the machine ended; resolves when it does. */
  wait(): Promise<VmExit> {
    const { ended } = this;
    return ended && this.told ? Promise.resolve(ended) : new Promise((resolve) => this.waiters.push(resolve));
  }

  /**
   * Saves the machine; pauses it meanwhile.
   * @throws TraplineError `TL_SNAPSHOT_BUSY` naming the devices that did not become quiet in time
   */
  save(): Promise<Snapshot> {
    return this.whilePaused(async () => {
      await this.quiesce('save');
      const devices = Object.fromEntries([...this.composition.devices].map(([id, device]) => [id, device.save()]));
      const memory = this.backend.capabilities.snapshot ? { memory: saveMemory(this.memoryPort) } : {};
      return { format: 1, time: this.clockPort.now(), devices, ...memory };
    });
  }

  /**
   * Puts a saved state back. All of it is checked before any of it is applied.
   * @throws TraplineError `TL_STATE_INVALID`; the machine is as it was then
   */
  restore(snapshot: Snapshot): Promise<void> {
    return this.whilePaused(async () => {
      await this.quiesce('restore');
      const apply = checkSnapshot(snapshot, this.composition.devices, this.memoryPort);
      this.resetWanted = false;
      this.io.uninterrupted(() => {
        this.machineClock?.set(snapshot.time);
        apply();
      });
    });
  }

  /** Reports every access that matches to `sink`, until the returned function is called. */
  traceOn(filter: TraceFilter, sink: TraceSink): () => void {
    return this.io.dispatcher.traceOn(filter, sink);
  }

  /** How the interrupt controller takes a line: the machine's table, or else the PC's. */
  lineMode(line: number): LineMode {
    return this.machine.interrupts?.[line] ?? defaultLineMode(line);
  }

  /** What each range has served. */
  counters(): DeviceCounters[] {
    return this.io.dispatcher.set.list().map((range) => ({
      device: range.client.name,
      region: range.region,
      space: range.space,
      base: range.base,
      size: range.size,
      ...this.io.dispatcher.set.counters(range),
    }));
  }

  /** What the default client has served. */
  get unclaimed(): DefaultCounters {
    return this.io.fallback.counters;
  }
  /** Deferred accesses that were answered after they were given up. */
  get lateSettlements(): number {
    return this.io.deferred.late;
  }

  /** The address map. */
  map(): MapRow[] {
    return this.io.dispatcher.set.list().map((range) => ({
      space: range.space,
      first: range.base,
      last: range.base + range.size - 1,
      device: range.client.name,
      region: range.region,
      type: this.composition.devices.get(range.client.name)?.plan.metadata.type ?? '',
    }));
  }

  /** The framework's side of a device: its parts, lines and ranges; for tools and tests. */
  inspectDevice(id: string): DeviceInstance | undefined {
    return this.composition.devices.get(id);
  }

  /** Takes a device out of the running machine: its addresses become the default client's. */
  detach(id: string): void {
    const device = this.composition.devices.get(id);
    if (!device) throw new TraplineError('TL_USAGE', `there is no device ${id}`, { who: id });
    device.pause();
    const why = new TraplineError('TL_VM_STATE', 'the device was detached', { who: id });
    this.composition.abandon(device.client, device.lines.values(), why);
    this.io.deferred.abandon(device.client);
    for (const part of device.parts.values()) part.reset();
    this.composition.devices.delete(id);
  }

  /** Ends the machine and gives back everything; idempotent, every call returns the same promise. */
  close(): Promise<void> {
    this.closing ??= this.closeOnce();
    return this.closing;
  }

  [asyncDispose](): Promise<void> {
    return this.close();
  }

  private go(): void {
    // What a device asks for while it resumes (to exit, say) happens once the machine runs.
    this.io.uninterrupted(() => {
      this.current = 'running';
      this.lively = true;
      this.machineClock?.start();
      for (const device of this.composition.devices.values()) {
        device.resume();
        // A listener that was told of its failure may have paused or closed the machine.
        if (this.current !== 'running') return;
      }
      this.backend.run();
      this.io.queue.resume();
      if (this.pumped) pump.add(this.pumped);
      this.events.emit('state', 'running');
    });
    if (this.resetWanted) this.resetSoon();
  }

  private async stopCpus(): Promise<void> {
    this.must('running');
    this.setState('paused');
    this.io.queue.pause();
    await this.backend.pause();
    // What a CPU asked for before it stopped belongs to the time before.
    if (this.pumped) pump.serveNow(this.pumped);
    // It may have ended meanwhile.
    this.must('paused');
    this.quiet();
  }

  /** Does something with stopped CPUs; a machine that ran goes on afterwards, unless it has ended. */
  private whilePaused<T>(work: () => Promise<T>): Promise<T> {
    return this.changes.run(async () => {
      const running = this.current === 'running';
      if (running) await this.stopCpus();
      this.must('paused');
      try {
        return await work();
      } finally {
        if (running && this.current === 'paused') this.go();
      }
    });
  }

  /** Machine time and devices stand still. */
  private quiet(): void {
    if (!this.lively) return;
    this.lively = false;
    this.machineClock?.stop();
    for (const device of this.composition.devices.values()) device.pause();
  }

  private host(): BackendHost {
    return {
      serve: (claimed) => this.io.serve(claimed),
      access: (vcpu, space, write, address, size, value) => this.io.access(vcpu, space, write, address, size, value),
      stopped: (reason: ExitReason, details = {}) => this.io.soon(() => this.finish({ reason, ...details })),
      resetRequested: () => this.io.soon(() => this.resetSoon()),
    };
  }

  private resetSoon(): void {
    // A guest that asks while the machine is being paused must not wait for its reset for ever.
    this.resetWanted = this.current === 'paused';
    if (this.current !== 'running') return;
    this.reset().catch((thrown: unknown) => this.finish({ reason: 'backend-failed', error: backendError(thrown) }));
  }

  /** The guest has ended: stop everything, keep it for inspection until `close`. */
  private finish(exit: VmExit): void {
    if (this.ended) return;
    this.ended = exit;
    this.setState('stopped');
    this.io.queue.pause();
    if (this.pumped) pump.remove(this.pumped);
    this.quiet();
    const tell = () => this.tellEnd(exit);
    const { openBackend: backend } = this;
    if (backend) attempt(() => backend.pause().then(() => backend.letExit?.())).then(tell, tell);
    else tell();
  }

  private tellEnd(exit: VmExit): void {
    if (this.told) return;
    this.told = true;
    this.events.emit('exit', exit);
    for (const resolve of this.waiters.splice(0)) resolve(exit);
  }

  private async closeOnce(): Promise<void> {
    this.finish({ reason: 'closed' });
    this.io.deferred.abandon();
    const failures: unknown[] = [];
    const failed = (thrown: unknown) => failures.push(thrown);
    await attempt(() => this.openBackend?.close()).catch(failed);
    // A backend that never came to rest is at rest now; devices that go on by themselves reach nobody.
    this.tellEnd(this.ended ?? { reason: 'closed' });
    this.composition.lines.connect(() => {});
    this.msiPort.target = () => {};
    for (const device of this.composition.devices.values()) {
      for (const part of device.parts.values()) part.reset();
    }
    for (const [resource, opened] of [...this.opened].reverse()) {
      await attempt(() => resource.close(opened)).catch(failed);
    }
    this.setState('closed');
    for (const thrown of failures)
      this.logSink({ level: 'error', who: 'core', message: `while closing: ${messageOf(thrown)}` });
    this.events.removeAll();
  }

  private async quiesce(what: string): Promise<void> {
    let timer: unknown;
    const late = new Promise<'late'>((resolve) => {
      timer = hostTime.setTimeout(() => resolve('late'), QUIESCE_MS);
    });
    const outcome = await Promise.race([this.io.deferred.settled(), late]);
    hostTime.clearTimeout(timer);
    // It may have been closed meanwhile.
    this.must('paused');
    if (outcome !== 'late') return;
    const busy = this.io.deferred.devices.join(', ');
    throw new TraplineError('TL_SNAPSHOT_BUSY', `${what} waited ${QUIESCE_MS} ms for requests of ${busy}`, {
      who: busy,
    });
  }

  private reportUnclaimed(access: UnclaimedAccess): void {
    const { vcpu, direction, space, address, size } = access;
    const where = `${direction} of ${size} at ${space} ${hex(address)}`;
    this.logSink({ level: 'warn', who: 'core', message: `nobody claims the ${where} by vCPU ${vcpu}` });
    this.events.emit('access:unclaimed', access);
  }

  private deviceFailed(error: TraplineError): void {
    const message = `${error.what}; it answers all ones from now on`;
    this.logSink({ level: 'error', who: error.who, message, error });
    this.events.emit('device:failed', { device: error.who, error });
  }

  private must(state: VmState): void {
    if (this.current === state) return;
    const code = this.current === 'closed' ? 'TL_VM_CLOSED' : 'TL_VM_STATE';
    throw new TraplineError(code, `the machine is ${this.current}, not ${state}`);
  }

  private setState(state: VmState): void {
    if (this.current === state) return;
    this.current = state;
    this.events.emit('state', state);
  }
}

/** Whatever fails, and however, is a rejection. */
async function attempt(run: () => unknown): Promise<void> {
  await run();
}

function backendError(thrown: unknown): TraplineError {
  if (isA(thrown, TraplineError)) return thrown;
  return new TraplineError('TL_BACKEND_FAILED', messageOf(thrown), { cause: thrown });
}
