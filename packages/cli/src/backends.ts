// Makes every backend that can be loaded here known to `start()`. Opens nothing.
import { type BackendProvider, messageOf, registerBackend, SIM_JS_CAPABILITIES, TraplineError } from '@trapline/core';

let registered: Promise<void> | undefined;

/** Idempotent. */
export function registerBackends(): Promise<void> {
  registered ??= registerAll();
  return registered;
}

async function registerAll(): Promise<void> {
  try {
    const native = (await import('@trapline/native')) as {
      readonly kvm?: () => BackendProvider;
      readonly sim?: () => BackendProvider;
    };
    if (!native.kvm || !native.sim) throw new Error('@trapline/native has no kvm() or no sim()');
    registerBackend(native.kvm());
    registerBackend(native.sim());
  } catch (thrown) {
    registerBackend(missing('kvm', messageOf(thrown)));
    registerBackend(missing('sim', messageOf(thrown)));
  }
}

/** Stands in for a backend whose package does not load, so that asking for it says why. */
function missing(name: string, reason: string): BackendProvider {
  // Whatever the machine has: that this backend is missing is the one problem to name.
  const capabilities = { ...SIM_JS_CAPABILITIES, guests: ['flat', 'script', 'stream'] as const };
  const fix = 'install @trapline/native again, or choose another backend with --backend';
  return {
    name,
    probe: () => ({ available: false, reason, fix, capabilities }),
    open: () => Promise.reject(new TraplineError('TL_BACKEND_UNAVAILABLE', reason, { who: name, fix })),
  };
}
