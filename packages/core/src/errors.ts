/**
 * Every code Trapline can raise, with what it means and what usually helps.
 * `docs/errors.md` is generated from this table.
 */
export const ERROR_CODES = {
  TL_ACCESS_INVALID: [
    'an access has a size or address no bus cycle has',
    'a backend or a script passed it; check the caller',
  ],
  TL_BACKEND_UNAVAILABLE: [
    'the backend cannot run here',
    'see the reason in the message, or choose another with --backend',
  ],
  TL_BACKEND_CAPABILITY: [
    'the machine needs more than the backend has',
    'shrink the machine or choose another backend',
  ],
  TL_BACKEND_FAILED: ['the backend failed while the machine ran', 'see the cause; the guest is stopped'],
  TL_BACKEND_UNKNOWN: ['no backend has this name', 'use one of the names in the message'],
  TL_COMPOSITION: ['the machine cannot be composed', 'solve every problem listed'],
  TL_DEADLINE: ['an operation did not finish in time', 'raise the deadline, or see what the named device waits for'],
  TL_DEFER_UNSUPPORTED: ['the backend cannot defer completion', 'use a synchronous handler or another backend'],
  TL_DEVICE_CLASS: ['the class is no device', 'decorate it with @Device({ type })'],
  TL_DEVICE_CONSTRUCTOR: [
    'a device plugin threw in its constructor',
    'fix the plugin; constructors must not touch the host',
  ],
  TL_DEVICE_HANDLER: [
    'a device plugin threw while serving an access',
    'fix the plugin; the device answers all ones until then',
  ],
  TL_DEVICE_VALUE: [
    'a device plugin returned a value that does not fit the access',
    'return an unsigned number below 2^(8*size)',
  ],
  TL_DEVICE_HOOK: ['a device plugin threw in a life-cycle hook', 'fix the plugin'],
  TL_DUPLICATE_CORE: ['two copies of @trapline/core are loaded', 'dedupe the dependency so that one copy remains'],
  TL_DUPLICATE_TYPE: ['two plugins declare the same device type', 'remove or rename one of them'],
  TL_HANDLER_TIMEOUT: [
    'a device plugin did not return in time',
    'a handler must return at once: finish slow work later, or declare the region with defer: true',
  ],
  TL_HOST_RESOURCE: ['a host resource could not be opened', 'see the cause: path, permission or peer'],
  TL_INTERNAL: ['something nobody foresaw', 'run again with --debug; if the stack shows no code of yours, report it'],
  TL_INJECT: ['a constructor parameter cannot be injected', 'import its class as a value, or list it in static inject'],
  TL_IRQ: ['an interrupt line is missing or impossible', 'give irq: N, below the number of lines of the backend'],
  TL_LAYOUT: ['a register layout contradicts itself', 'fix the named register or field'],
  TL_MACHINE_FILE: ['the machine file cannot be used', 'export default defineMachine({ ... })'],
  TL_MEMORY_BOUNDS: ['an access leaves guest memory', 'the guest or the device gave a bad address'],
  TL_MEMORY_SIZE: ['the memory size is not usable', 'write it as a multiple of 4K, for example 128M'],
  TL_OPTION: ['an option is unknown or has a bad value', 'see `trapline devices` for the options of the device'],
  TL_PLUGIN: ['a plugin cannot be loaded', 'export const plugin = definePlugin({ ... })'],
  TL_PLUGIN_VERSION: ['a plugin was made for another plugin API', 'update the plugin or Trapline'],
  TL_RANGE: ['an address range is not usable', 'give a base and a size inside the address space'],
  TL_RANGE_OVERLAP: ['two devices claim the same addresses', 'move one of them with at:'],
  TL_RESOURCE_NOT_OPEN: [
    'a host resource was used while none is open',
    'use it after the machine has started, not in the constructor',
  ],
  TL_STATE_INVALID: ['saved state cannot be restored', 'it is damaged or belongs to another device version'],
  TL_STATE_HIDDEN: [
    'guest-visible state is hidden from the framework',
    'keep registers(...) and state(...) in properties without #',
  ],
  TL_STATE_VALUE: ['a value does not fit the state cell it was written to', 'fix the device, or widen the cell'],
  TL_SNAPSHOT_BUSY: ['the machine could not be quiesced for a snapshot', 'see which device still has work in flight'],
  TL_TIMER: ['a timer was used outside a machine', 'arm timers after the device was constructed by the framework'],
  TL_USAGE: ['a command or call was used wrongly', 'see --help'],
  TL_VM_CLOSED: ['the machine is closed', 'start a new one'],
  TL_VM_STATE: ['the machine is in the wrong state for this', 'see the states named in the message'],
} as const satisfies Record<string, readonly [what: string, fix: string]>;

/** A code of {@link ERROR_CODES}. */
export type ErrorCode = keyof typeof ERROR_CODES;

/** What a {@link TraplineError} carries beside its code. */
export interface ErrorDetails {
  /** Who is to blame: a device id, an option, a file. */
  readonly who?: string;
  /** What to do; the general advice for the code when left out. */
  readonly fix?: string;
  /** The error this one was made from. */
  readonly cause?: unknown;
  /** The values the message speaks of. */
  readonly details?: Readonly<Record<string, unknown>>;
}

/** Every error Trapline raises on purpose: a code, the values in it, and what to do. */
export class TraplineError extends Error {
  override readonly name: string = 'TraplineError';
  readonly code: ErrorCode;
  /** Who is to blame: a device id, an option, a file; empty if nobody in particular. */
  readonly who: string;
  /** The sentence without `who` and code. */
  readonly what: string;
  readonly fix: string;
  readonly details: Readonly<Record<string, unknown>>;

  constructor(code: ErrorCode, what: string, more: ErrorDetails = {}) {
    super(more.who ? `${more.who}: ${what}` : what, more.cause === undefined ? undefined : { cause: more.cause });
    this.code = code;
    this.what = what;
    this.who = more.who ?? '';
    this.fix = more.fix ?? ERROR_CODES[code][1];
    this.details = more.details ?? {};
  }
}

/** Everything that is wrong with a machine, at once. */
export class CompositionError extends TraplineError {
  override readonly name = 'CompositionError';
  constructor(readonly problems: readonly TraplineError[]) {
    const list = problems.map((p) => `  ${formatError(p).replaceAll('\n', '\n  ')}`).join('\n');
    super('TL_COMPOSITION', `${problems.length} problem${problems.length === 1 ? '' : 's'} in the machine\n${list}`);
  }
}

/** The two lines the command prints for an error: `error[CODE] who: what` and `fix: ...`. */
export function formatError(error: TraplineError): string {
  const who = error.who ? ` ${error.who}:` : '';
  return `error[${error.code}]${who} ${error.what}\nfix: ${error.fix}`;
}

/** The message of anything that was thrown, in one line. Never throws itself. */
export function messageOf(thrown: unknown): string {
  try {
    const text = thrown instanceof Error ? thrown.message || thrown.name : thrown;
    return textOf(text).split('\n', 1)[0] ?? '';
  } catch {
    return NO_TEXT;
  }
}

const NO_TEXT = 'something that has no text';

/** `String(value)` for what nobody has checked: an object may have no text, or throw instead of giving it. */
export function textOf(value: unknown): string {
  try {
    return String(value);
  } catch {
    return NO_TEXT;
  }
}

/** `value instanceof type` for what nobody has checked: a proxy may throw instead of answering. */
export function isA<T>(value: unknown, type: abstract new (...given: never[]) => T): value is T {
  try {
    return value instanceof type;
  } catch {
    return false;
  }
}

/** `0x3f8`, the way addresses are printed everywhere. */
export function hex(value: number): string {
  return `0x${value.toString(16)}`;
}
