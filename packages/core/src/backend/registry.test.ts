import { describe, expect, it } from 'vitest';
import { TraplineError } from '../errors.js';
import type { BackendProbe, BackendProvider } from './backend.js';
import { chooseBackend, knownBackends, registerBackend } from './registry.js';
import { SIM_JS_CAPABILITIES, simJs } from './sim-js.js';

function provider(name: string, probe: () => Partial<BackendProbe> | Promise<Partial<BackendProbe>>): BackendProvider {
  return {
    name,
    probe: async () => ({ available: true, capabilities: SIM_JS_CAPABILITIES, ...(await probe()) }),
    open: () => Promise.reject(new Error('never')),
  };
}
const nothing = () => [];

describe('choosing a backend', () => {
  it('has sim-js as its last resort', () => {
    registerBackend(provider('first', () => ({ available: false, reason: 'no such device' })));
    registerBackend(simJs());
    expect(knownBackends().map(({ name }) => name)).toEqual(['first', 'sim-js']);
  });

  it('passes over what is not available, what lacks something and what cannot be asked, and says why', async () => {
    registerBackend(provider('second', () => ({ capabilities: { ...SIM_JS_CAPABILITIES, maxVcpus: 1 } })));
    registerBackend({
      ...provider('third', () => ({})),
      probe: () => {
        throw new Error('addon missing');
      },
    });
    const lacking = (name: string) =>
      name === 'second' ? [new TraplineError('TL_BACKEND_CAPABILITY', '2 vCPUs, but it has 1')] : [];
    const { provider: chosen, why } = await chooseBackend('auto', lacking);
    expect(chosen.name).toBe('sim-js');
    expect(why).toBe(
      'it runs everywhere: the guest is a script (passed over: first: no such device; second: 2 vCPUs, but it has 1; third: addon missing)',
    );
  });

  it('takes the first that suffices; the same name replaces', async () => {
    registerBackend(provider('first', () => ({ reason: 'it is here now' })));
    expect(await chooseBackend('auto', nothing)).toMatchObject({ provider: { name: 'first' }, why: 'it is here now' });
    registerBackend(provider('first', () => ({ available: false })));
  });

  it('takes one by name or as it is given', async () => {
    expect((await chooseBackend('sim-js', nothing)).provider.name).toBe('sim-js');
    const given = provider('given', () => ({}));
    expect((await chooseBackend(given, nothing)).provider).toBe(given);
  });

  it('says which names there are', async () => {
    await expect(chooseBackend('xen', nothing)).rejects.toMatchObject({
      code: 'TL_BACKEND_UNKNOWN',
      fix: 'use one of: auto, first, second, third, sim-js',
    });
  });

  it('says why none will do', async () => {
    const never = () => [new TraplineError('TL_BACKEND_CAPABILITY', 'too large')];
    await expect(chooseBackend('auto', never)).rejects.toMatchObject({ code: 'TL_BACKEND_UNAVAILABLE' });
  });
});
