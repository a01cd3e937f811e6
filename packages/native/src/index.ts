export { loadNative, type NativeAddon, type NativeLoad, type NativeLoadOptions } from './addon.js';
export { type KvmOptions, kvm } from './kvm.js';
export { type Watchdog, type WatchdogOptions, watchdog } from './watchdog.js';
