import type { Backend, BackendHost, ExitReason } from '../backend/backend.js';
import { joinProblems } from '../bus/range.js';
import type { DeviceClass } from '../device/metadata.js';
import type { Clock, GuestMemory, Random } from '../device/tokens.js';
import { CompositionError, isA, messageOf, TraplineError } from '../errors.js';
import type { DefaultCounters } from '../ioreq/default-client.js';
import type { TraceFilter, TraceSink } from '../ioreq/trace.js';
import type { LogSink } from '../log.js';
import { countersOf, mapRows } from './address-map.js';
import { type AttachOptions, HotPlug, type HotPlugHost } from './attach.js';
import { HostClock, hostTime, MachineClock } from './clock.js';
import { Composition } from './composition.js';
import type { DeviceUse, DeviceUses, InstancesOf, Machine, Placement } from './define.js';
import type { DeviceInstance, ResetKind } from './device-instance.js';
import { HostResources } from './host-resources.js';
import { defaultLineMode, type LineMode } from './interrupts.js';
import { IoPath } from './io-path.js';
import { LateClock, LateMemory, LateMsi, type MemoryPort } from './late.js';
import { OneAtATime } from './one-at-a-time.js';
import type { MachinePlan } from './plan.js';
import { type Pumped, pump } from './pump.js';
import { HostRandom } from './random.js';
import { checkSnapshot, saveMemory } from './snapshot.js';
import { VmControl } from './vm-control.js';
import { VmReports } from './vm-reports.js';
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
}

const QUIESCE_MS = 5000;
const asyncDispose: typeof Symbol.asyncDispose = Symbol.asyncDispose ?? Symbol.for('Symbol.asyncDispose');

/** A composed machine. Made by `start()`. */
export class Vm<D extends DeviceUses = DeviceUses> {
  private readonly reports: VmReports;
  private readonly memoryPort: MemoryPort = { target: undefined };
  /** Guest memory; out of bounds before the machine was opened. */
  readonly memory: GuestMemory = new LateMemory(this.memoryPort);
  private readonly clockPort = new LateClock();
  private readonly msiPort = new LateMsi();
  private readonly io: IoPath;
  private readonly composition: Composition;
  private readonly hotPlug: HotPlug;
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
    /** Opened for its devices; the machine closes them. */
    private readonly resources: HostResources = new HostResources(),
  ) {
    this.reports = new VmReports(services.log);
    this.io = new IoPath(
      {
        unclaimed: (access) => this.reports.unclaimed(access),
        straddle: (range, write, address, size) => this.reports.straddle(range, write, address, size),
        failed: (error) => this.reports.failed(error),
        fatal: (error) => this.io.soon(() => this.finish({ reason: 'backend-failed', error })),
        lines: (client) => this.composition.levels(client.name),
        now: () => this.clockPort.now(),
      },
      {
        defaults: machine.defaults ?? {},
        debugging: services.debugging ?? false,
        sampleEvery: services.sampleEvery ?? 0,
      },
    );
    this.composition = new Composition({
      memory: this.memoryPort,
      clock: this.clockPort,
      control: new VmControl({
        soon: (run) => this.io.soon(run),
        finish: (exit) => this.finish(exit),
        reset: () => this.resetSoon(),
      }),
      msi: this.msiPort,
      random: services.random ?? new HostRandom(),
      queue: this.io.queue,
      ranges: () => this.io.dispatcher.set,
      logSink: this.reports.logSink,
      report: (device) => this.reports.ofGuest(device),
      failed: (client, error) => this.io.dispatcher.disable(client, error),
    });
    this.hotPlug = new HotPlug(this.hotPlugHost());
  }

  /** The device instances, by id. One whose constructor threw is absent. */
  get devices(): InstancesOf<D> {
    return Object.fromEntries(
      [...this.composition.devices].map(([id, device]) => [id, device.instance]),
    ) as InstancesOf<D>;
  }
  /** Where this machine logs to; it never throws. */
  get logSink(): LogSink {
    return this.reports.logSink;
  }
  get state(): VmState {
    return this.current;
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
    this.reports.events.on(event, listener);
    return this;
  }
  once<K extends keyof VmEvents>(event: K, listener: (...args: VmEvents[K]) => void): this {
    this.reports.events.once(event, listener);
    return this;
  }
  off<K extends keyof VmEvents>(event: K, listener: (...args: VmEvents[K]) => void): this {
    this.reports.events.off(event, listener);
    return this;
  }

  /** Constructs the devices and decodes their ranges. @throws CompositionError with every problem */
  compose(): void {
    const { composition, plan, resources } = this;
    const problems: TraplineError[] = [];
    composition.construct(plan.devices, resources.opened, problems);
    const ranges = composition.ranges();
    problems.push(...joinProblems([], ranges));
    if (problems.length > 0) throw new CompositionError(problems);
    this.io.dispatcher.set.add(ranges);
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
        this.pumped = {
          source,
          failed,
          serve: (claimed) => this.io.serve(claimed),
          kicked: () => this.io.kicked(),
        };
      }
    }
    backend.connect(this.host());
    this.composition.lines.connect((line, level) => backend.setIrqLine(line, level));
    for (const error of this.composition.broken.values()) this.reports.failed(error);
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
      this.reports.events.emit('reset', kind);
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
      const memory = this.backend.capabilities.snapshot ? { memory: saveMemory(this.memory) } : {};
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
      const apply = checkSnapshot(snapshot, this.composition.devices, this.memory);
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
    return countersOf(this.io.dispatcher.set);
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
    return mapRows(this.io.dispatcher.set.list(), this.composition.devices);
  }

  /** The framework's side of a device: its parts, lines and ranges; for tools and tests. */
  inspectDevice(id: string): DeviceInstance | undefined {
    return this.composition.devices.get(id);
  }

  /**
   * Puts a device into the machine while it runs or is paused: checked as `start()` checks, its host
   * resources opened, constructed, reset with `'power'`, and in service, between two accesses. Its
   * constructor may run once more than that, with nothing behind it: for the check.
   * @throws CompositionError with every problem, before anything is opened
   * @throws TraplineError `TL_HOST_RESOURCE`, `TL_DEVICE_CONSTRUCTOR`, `TL_VM_STATE`, `TL_VM_CLOSED`; nothing
   *   is left of the device then, and what was opened for it is closed
   */
  attach<C extends DeviceClass>(
    id: string,
    entry: DeviceUse<C>,
    options: AttachOptions = {},
  ): Promise<InstanceType<C>> {
    const config = (entry?.config ?? {}) as Placement;
    return this.hotPlug.attach(id, entry?.device, config, options) as Promise<InstanceType<C>>;
  }

  /**
   * Takes a device out of the machine, at once: when this returns its addresses are the default client's,
   * its deferred accesses are complete with all ones, its lines low, its timers and its inbox dead. Resolves
   * when the host resources only it used are closed.
   * @throws TraplineError `TL_USAGE` if there is no such device
   */
  detach(id: string): Promise<void> {
    return this.hotPlug.detach(id);
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
      this.reports.events.emit('state', 'running');
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
    this.io.kicked();
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

  private hotPlugHost(): HotPlugHost {
    const vm = this;
    const { composition, io, resources, changes } = this;
    return {
      composition,
      io,
      resources,
      changes,
      get backend() {
        return vm.backend;
      },
      get lively() {
        return vm.lively;
      },
      mustLive: () => this.must('running', 'paused'),
      release: async (plan) => this.reports.notClosed(await resources.release(plan)),
      told: (event, device) => this.reports.events.emit(event, { device }),
      warn: (message) => this.reports.log('warn', message),
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
    this.reports.events.emit('exit', exit);
    for (const resolve of this.waiters.splice(0)) resolve(exit);
  }

  private async closeOnce(): Promise<void> {
    this.finish({ reason: 'closed' });
    this.io.deferred.abandon();
    this.io.routes.disconnect();
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
    failures.push(...(await this.resources.end()));
    this.setState('closed');
    this.reports.notClosed(failures);
    this.reports.events.removeAll();
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

  private must(...states: readonly VmState[]): void {
    if (states.includes(this.current)) return;
    const [code, now] = this.closing ? (['TL_VM_CLOSED', 'closed'] as const) : (['TL_VM_STATE', this.current] as const);
    throw new TraplineError(code, `the machine is ${now}, not ${states.join(' or ')}`);
  }

  private setState(state: VmState): void {
    if (this.current === state) return;
    this.current = state;
    this.reports.events.emit('state', state);
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
