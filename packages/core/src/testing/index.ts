export { type Driven, type DrivenLine, decode, drive, encode } from './drive.js';
export {
  type GuestIndexed,
  type GuestOf,
  type GuestRegion,
  type GuestRegister,
  type GuestRegisters,
  REGION,
} from './guest-view.js';
