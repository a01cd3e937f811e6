export { loadNative, type NativeAddon, type NativeLoad, type NativeLoadOptions } from './addon.js';
export { type KvmOptions, kvm } from './kvm.js';
