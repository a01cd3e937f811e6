// Host resources of one machine: opened once each however many devices use them, closed with their
// last user or with the machine, in reverse order of opening.
import type { HostResource } from '../device/tokens.js';
import { messageOf, TraplineError } from '../errors.js';
import type { DevicePlan } from './plan.js';

type Resource = HostResource<unknown>;

/** Host resources by the object that names them. */
export type OpenedResources = ReadonlyMap<Resource, unknown>;

/** The host resources of one machine. */
export class HostResources {
  /** In the order they were opened. */
  private readonly values: Map<Resource, unknown>;
  private readonly users = new Map<Resource, Set<DevicePlan>>();
  /** Resources that are being opened or closed: who wants one waits. */
  private readonly busy = new Map<Resource, Promise<unknown>>();
  private readonly opening = new Set<AbortController>();
  private ended = false;

  /** @param opened resources that are open already; they are closed with the machine */
  constructor(opened: OpenedResources = new Map()) {
    this.values = new Map(opened);
  }

  get opened(): OpenedResources {
    return this.values;
  }

  /**
   * Opens what a device uses, in order; what is open already is shared. If this fails, `release` closes
   * what was opened until then.
   * @throws TraplineError `TL_HOST_RESOURCE`, or whatever error of Trapline's `open` gives; `TL_VM_CLOSED`
   */
  async open(plan: DevicePlan, signal?: AbortSignal): Promise<void> {
    for (const { option, resource } of plan.resources) {
      for (let other = this.busy.get(resource); other; other = this.busy.get(resource)) await other;
      if (this.ended) throw closed();
      if (!this.values.has(resource)) {
        const opening = this.openOne(plan, option, resource, signal);
        this.whileBusy(
          [resource],
          opening.catch(() => {}),
        );
        await opening;
        if (this.ended) throw closed();
      }
      this.users.get(resource)?.add(plan);
    }
  }

  /**
   * Gives back what a device used: what nobody else uses is closed, as far as it was opened.
   * @returns what went wrong while closing
   */
  release(plan: DevicePlan): Promise<unknown[]> {
    const unused = [...this.users].filter(([, users]) => users.delete(plan) && users.size === 0);
    return this.close(unused.map(([resource]) => resource));
  }

  /** Closes everything, and lets nothing be opened any more. @returns what went wrong while closing */
  async end(): Promise<unknown[]> {
    this.ended = true;
    for (const controller of this.opening) controller.abort(closed());
    const failures = await this.close([...this.values.keys()]);
    // Also what is being opened or closed for a device that comes or goes.
    while (this.busy.size > 0) await Promise.all(this.busy.values());
    return failures;
  }

  private async openOne(
    plan: DevicePlan,
    option: string,
    resource: Resource,
    given: AbortSignal | undefined,
  ): Promise<void> {
    const controller = new AbortController();
    const abort = () => controller.abort(given?.reason);
    if (given?.aborted) abort();
    given?.addEventListener('abort', abort);
    this.opening.add(controller);
    try {
      const value = await resource.open(controller.signal);
      if (this.ended) return await resource.close(value);
      this.values.set(resource, value);
      this.users.set(resource, new Set([plan]));
    } catch (thrown) {
      if (this.ended) throw closed(thrown);
      if (thrown instanceof TraplineError) throw thrown;
      const what = `${option}: ${resource.description} cannot be opened: ${messageOf(thrown)}`;
      throw new TraplineError('TL_HOST_RESOURCE', what, { who: plan.id, cause: thrown });
    } finally {
      this.opening.delete(controller);
      given?.removeEventListener('abort', abort);
    }
  }

  /** Closes resources, the last opened first. Never rejects. */
  private close(resources: readonly Resource[]): Promise<unknown[]> {
    const gone = resources.filter((resource) => this.values.has(resource)).reverse();
    const values = new Map(gone.map((resource) => [resource, this.values.get(resource)]));
    for (const resource of gone) {
      this.values.delete(resource);
      this.users.delete(resource);
    }
    const closing = closeEach(values);
    this.whileBusy(gone, closing);
    return closing;
  }

  /** @param work never rejects */
  private whileBusy(resources: readonly Resource[], work: Promise<unknown>): void {
    const done = work.then(() => {
      // It may have been opened and be closed again by now.
      for (const resource of resources) if (this.busy.get(resource) === done) this.busy.delete(resource);
    });
    for (const resource of resources) this.busy.set(resource, done);
  }
}

async function closeEach(values: OpenedResources): Promise<unknown[]> {
  const failures: unknown[] = [];
  for (const [resource, value] of values) {
    try {
      await resource.close(value);
    } catch (thrown) {
      failures.push(thrown);
    }
  }
  return failures;
}

function closed(cause?: unknown): TraplineError {
  return new TraplineError('TL_VM_CLOSED', 'the machine was closed', { cause });
}
