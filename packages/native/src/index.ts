export {
  loadNative,
  type NativeAddon,
  type NativeLatency,
  type NativeLoad,
  type NativeLoadOptions,
  type NativeRangeCounters,
  type NativeTranslation,
} from './addon.js';
export { type KvmOptions, kvm } from './kvm.js';
export { encodeMmioDevice } from './mmio-device.js';
export { type SimBackend, type SimOptions, type SimProvider, type SimRange, sim, simCapabilities } from './sim.js';
export { type Watchdog, type WatchdogOptions, watchdog } from './watchdog.js';
