import 'reflect-metadata';

export * from './backend/backend.js';
export { type BackendChoice, chooseBackend, knownBackends, registerBackend } from './backend/registry.js';
export { SIM_JS_CAPABILITIES, SimCpu, SimJs, simJs } from './backend/sim-js.js';
export {
  type AccessStream,
  type CompiledStream,
  compileStream,
  mixRead,
  STREAM_FLAG,
  STREAM_WORD,
  STREAM_WORDS,
  type StreamAccess,
  StreamCursor,
  type StreamProgress,
} from './backend/stream.js';
export { type Attachment, type AttachmentOptions, mmio, pio } from './device/attachment.js';
export {
  bool,
  bytes,
  type Cell,
  type CellSpec,
  Fifo,
  f64,
  fifo,
  oneOf,
  type Timer,
  timer,
  u8,
  u16,
  u32,
  u53,
} from './device/cells.js';
export {
  type AsyncRegionDecorator,
  Device,
  Irq,
  Mmio,
  Pio,
  type RegionDecorator,
} from './device/decorators.js';
export { describe, type RegisterDescription } from './device/describe.js';
export type {
  AccessRule,
  AccessSize,
  AsyncIoHandler,
  IoHandler,
  IoHandler64,
  NativeService,
  RegionMember,
  RegionOptions,
} from './device/handler.js';
export { hostResource, isHostResource, resourceOption } from './device/host-resource.js';
export {
  type Access,
  array,
  bit,
  bits,
  type EnumValues,
  type Field,
  type FieldOptions,
  type Indexed,
  indexed,
  type Layout,
  type LayoutEntries,
  type LayoutRow,
  type LayoutSpec,
  layout,
  type Register,
  type RegisterArray,
  type RegisterOptions,
  reg,
} from './device/layout.js';
export {
  type DeviceClass,
  type DeviceMetadata,
  type DeviceOptions,
  deviceMetadata,
  type Migrate,
} from './device/metadata.js';
export { definePlugin, isPlugin, PLUGIN_API, type Plugin } from './device/plugin.js';
export type {
  ArrayHooks,
  FieldValues,
  HooksOf,
  RegisterHooks,
  Registers,
  RegisterView,
} from './device/register-types.js';
export { isRegisters, registers } from './device/registers.js';
export { constant, doorbell, type Latch, latch, type ServedRegion } from './device/service.js';
export { isState, type State, type StateSpec, state } from './device/state.js';
export {
  Clock,
  Decoder,
  type DynamicRegion,
  GuestMemory,
  type HostResource,
  Inbox,
  IrqLine,
  Log,
  MachineControl,
  Msi,
  type Opened,
  Options,
  type OptionsOf,
  Random,
  type TimerHandle,
} from './device/tokens.js';
export {
  CompositionError,
  ERROR_CODES,
  type ErrorCode,
  type ErrorDetails,
  formatError,
  hex,
  messageOf,
  TraplineError,
} from './errors.js';
export type { DefaultCounters, DefaultPolicy, UnclaimedAccess } from './ioreq/default-client.js';
export * from './ioreq/layout.js';
export { type IoRequest, IoreqPage } from './ioreq/page.js';
export type { TraceFilter, TraceRecord, TraceSink } from './ioreq/trace.js';
export { type LogLevel, type LogRecord, type LogSink, RateLimit } from './log.js';
export type { AttachOptions } from './machine/attach.js';
export { HostClock, MachineClock, VirtualClock } from './machine/clock.js';
export {
  type DeviceUse,
  type DeviceUses,
  defineMachine,
  type InstancesOf,
  isMachine,
  type Machine,
  type MachineSpec,
  type Placement,
  type UseConfig,
  use,
} from './machine/define.js';
export type { DeviceHooks, ResetKind, SavedDevice } from './machine/device-instance.js';
export type { OutsideEvent } from './machine/inbox.js';
export { type DeviceDescription, inspectDevice, type OptionDescription } from './machine/inspect.js';
export { defaultLineMode, type LineMode } from './machine/interrupts.js';
export { type MemoryRegion, parseMemorySize, RegionMemory } from './machine/memory.js';
export { HostRandom, SeededRandom } from './machine/random.js';
export { checkMachine, type MachineReport, type StartOptions, start } from './machine/start.js';
export { Vm, type VmServices } from './machine/vm.js';
export type { DeviceCounters, MapRow, Snapshot, VmEvents, VmExit, VmState } from './machine/vm-types.js';
export { nearest } from './nearest.js';
