import { messageOf, TraplineError } from '../errors.js';
import type { BackendCapabilities, BackendProvider } from './backend.js';
import { simJs } from './sim-js.js';

/** Backends `'auto'` may choose from, best first. `sim-js` is always the last. */
const registered: BackendProvider[] = [];

/** Makes a backend known to `start(machine, { backend: 'auto' })`; the same name replaces. */
export function registerBackend(provider: BackendProvider): void {
  const known = registered.findIndex((other) => other.name === provider.name);
  if (known >= 0) registered[known] = provider;
  else registered.push(provider);
}

/** Every known backend, in the order `auto` tries them. */
export function knownBackends(): readonly BackendProvider[] {
  return [...registered.filter((provider) => provider.name !== 'sim-js'), simJs()];
}

/** A chosen backend and why it was. */
export interface BackendChoice {
  readonly provider: BackendProvider;
  /** One line: `kvm` because..., passed over: ... */
  readonly why: string;
}

/**
 * Chooses a backend.
 * @param wanted a name, a provider, or `auto`: the first whose capabilities satisfy the machine
 * @param lacking what a machine needs beyond given capabilities, in words
 */
export async function chooseBackend(
  wanted: string | BackendProvider,
  lacking: (name: string, has: BackendCapabilities) => readonly TraplineError[],
): Promise<BackendChoice> {
  if (typeof wanted !== 'string') return { provider: wanted, why: 'it was given' };
  const known = knownBackends();
  if (wanted !== 'auto') {
    const provider = known.find((other) => other.name === wanted);
    if (provider) return { provider, why: 'it was asked for' };
    const names = known.map((other) => other.name).join(', ');
    throw new TraplineError('TL_BACKEND_UNKNOWN', `there is no backend ${wanted}`, {
      who: 'backend',
      fix: `use one of: auto, ${names}`,
    });
  }
  const passed: string[] = [];
  for (const provider of known) {
    // One that cannot even say whether it runs here does not.
    const probe = await Promise.resolve()
      .then(() => provider.probe())
      .catch((thrown: unknown) => ({ available: false as const, reason: messageOf(thrown) }));
    if (!probe.available) {
      passed.push(`${provider.name}: ${probe.reason ?? 'not available'}`);
      continue;
    }
    const [problem] = lacking(provider.name, probe.capabilities);
    if (problem) {
      passed.push(`${provider.name}: ${problem.message}`);
      continue;
    }
    const because = probe.reason ?? 'it has everything the machine needs';
    return { provider, why: passed.length > 0 ? `${because} (passed over: ${passed.join('; ')})` : because };
  }
  throw new TraplineError('TL_BACKEND_UNAVAILABLE', `no backend can run this machine: ${passed.join('; ')}`, {
    who: 'backend',
  });
}
