export { checkDevice, type Finding } from './conformance/check.js';
export { ConformanceError, describeDevice, type TestRunner } from './conformance/describe-device.js';
export type { OptionsOrMaker } from './conformance/kit.js';
export type { ConformanceSettings, PropertyId } from './conformance/settings.js';
export { type Driven, type DrivenLine, drive } from './drive.js';
export { DrivenClock } from './driven-clock.js';
export { decode, encode } from './guest-registers.js';
export {
  type GuestAsyncRegion,
  type GuestIndexed,
  type GuestOf,
  type GuestRegion,
  type GuestRegister,
  type GuestRegisters,
  REGION,
} from './guest-view.js';
