// One machine and one guest on every backend: what each access saw is the same, to the line level after it.
import { type BackendProvider, defineMachine, simJs, start, type TraceRecord, use, VirtualClock } from '@trapline/core';
import { DebugExit } from '@trapline/devices-pc';
import { kvm, sim } from '@trapline/native';
import { describe, expect, it } from 'vitest';
import { devicesOf } from './devices.js';
import { streamGuests } from './guest.js';
import { randomStream } from './streams.js';

const BYTES_OF_ALL = [1, 2, 4];
const LENGTH = 600;

/** A machine of `cpus` vCPUs, each with devices and a stream of its own. */
function machineOf(cpus: number, sizes: readonly number[], seed: number) {
  const parts = Array.from({ length: cpus }, (_, n) => devicesOf(n));
  const streams = parts.map(({ stretches }, n) => randomStream(stretches, sizes, LENGTH, seed + n));
  return defineMachine({
    memory: '1M',
    cpus,
    devices: { ...Object.assign({}, ...parts.map(({ devices }) => devices)), exit: use(DebugExit) },
    guest: streamGuests(streams),
    defaults: { report: 'never' },
  });
}

/** What a run left, by vCPU and by device. */
interface Recorded {
  readonly accesses: readonly (readonly string[])[];
  readonly failed: readonly string[];
  readonly counters: unknown;
  readonly state: unknown;
  readonly ended: string;
}

function line({ client, region, space, direction, address, size, value, valueHigh, lines }: TraceRecord): string {
  const levels = Object.entries(lines).map(([name, level]) => `${name}=${level ? 1 : 0}`);
  return `${client}.${region} ${space} ${direction} ${address.toString(16)} ${size} ${valueHigh}:${value.toString(16)} ${levels}`;
}

async function record(
  backend: BackendProvider,
  cpus: number,
  sizes: readonly number[],
  traced = true,
): Promise<Recorded> {
  const accesses: string[][] = Array.from({ length: cpus }, () => []);
  const failed: string[] = [];
  // Machine time stands still: a UART's character timeout is not what is compared here.
  const clock = new VirtualClock();
  await using vm = await start(machineOf(cpus, sizes, 17), {
    clock,
    backend,
    onComposed: (composed) => {
      composed.on('device:failed', ({ device, error }) => failed.push(`${device}: ${error.message}`));
      if (!traced) return;
      composed.traceOn({}, (access) => {
        if (access.client !== 'exit') accesses[access.vcpu]?.push(line(access));
      });
    },
  });
  const exit = await vm.wait();
  const counters = vm
    .counters()
    .filter(({ device }) => device !== 'exit')
    .map(({ samples: _, sampledMs: __, ...counted }) => counted);
  const { reads, writes, straddles } = vm.unclaimed;
  const ids = Object.keys(vm.devices).filter((id) => id !== 'exit');
  const state = Object.fromEntries(ids.map((id) => [id, vm.inspectDevice(id)?.save()]));
  return {
    accesses,
    failed: failed.sort(),
    counters: [counters, { reads, writes, straddles }],
    state,
    ended: exit.reason,
  };
}

const program = kvm();
const native = sim({ verify: true });
const backends: { name: string; provider: BackendProvider; runs: boolean; sizes: readonly number[] }[] = [
  { name: 'addon: sim', provider: native, runs: (await native.probe()).available, sizes: [...BYTES_OF_ALL, 8] },
  {
    name: 'addon: sim with completion polling',
    provider: sim({ verify: true, completionPolling: true }),
    runs: (await native.probe()).available,
    sizes: [...BYTES_OF_ALL, 8],
  },
  { name: 'kvm: a real CPU', provider: program, runs: (await program.probe()).available, sizes: BYTES_OF_ALL },
];

describe('the scripted hypervisor', () => {
  it('makes every access of the streams, each seen once, and the same on every run', async () => {
    const first = await record(simJs(), 2, [...BYTES_OF_ALL, 8]);
    expect(first.accesses.map((list) => list.length)).toEqual([LENGTH, LENGTH]);
    expect(first.failed).toEqual(['fails0', 'fails1'].map((id) => expect.stringContaining(id)));
    expect(first.ended).toBe('halted');
    expect(await record(simJs(), 2, [...BYTES_OF_ALL, 8])).toEqual(first);
  });

  it('gives the same state and counters untraced', async () => {
    const { accesses: _, ...traced } = await record(simJs(), 2, [...BYTES_OF_ALL, 8]);
    const { accesses: __, ...untraced } = await record(simJs(), 2, [...BYTES_OF_ALL, 8], false);
    expect(untraced).toEqual(traced);
  });
});

for (const { name, provider, runs, sizes } of backends) {
  describe.skipIf(!runs)(`${name} sees what the scripted hypervisor sees`, () => {
    it.each([1, 2, 4])('%i vCPUs, every access traced', async (cpus) => {
      const expected = await record(simJs(), cpus, sizes);
      const seen = await record(provider, cpus, sizes);
      for (const [vcpu, accesses] of expected.accesses.entries()) expect(seen.accesses[vcpu]).toEqual(accesses);
      expect({ ...seen, accesses: [], ended: '' }).toEqual({ ...expected, accesses: [], ended: '' });
    });

    it('2 vCPUs with native service: the same state and counters', async () => {
      const { accesses: _, ended: __, ...expected } = await record(simJs(), 2, sizes);
      const { accesses: ___, ended: ____, ...seen } = await record(provider, 2, sizes, false);
      expect(seen).toEqual(expected);
    });
  });
}
