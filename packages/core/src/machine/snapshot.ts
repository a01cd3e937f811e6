import type { GuestMemory } from '../device/tokens.js';
import { TraplineError, textOf } from '../errors.js';
import type { DeviceInstance } from './device-instance.js';
import type { Snapshot } from './vm-types.js';

const CHUNK = 65536;

/** The chunks of guest memory that hold anything but zeros. */
export function saveMemory(memory: GuestMemory): NonNullable<Snapshot['memory']> {
  const chunks: { address: number; bytes: Uint8Array }[] = [];
  for (const { address: base, length } of memory.extents) {
    for (let at = 0; at < length; at += CHUNK) {
      const bytes = memory.read(base + at, Math.min(CHUNK, length - at));
      if (bytes.some((byte) => byte !== 0)) chunks.push({ address: base + at, bytes });
    }
  }
  return chunks;
}

/**
 * Checks a snapshot against a machine, whole.
 * @returns applies it
 * @throws TraplineError `TL_STATE_INVALID`
 */
export function checkSnapshot(
  snapshot: Snapshot,
  devices: ReadonlyMap<string, DeviceInstance>,
  memory: GuestMemory,
): () => void {
  const invalid = (what: string): never => {
    throw new TraplineError('TL_STATE_INVALID', what, { who: 'snapshot' });
  };
  const untrusted = snapshot as Partial<Snapshot> | null;
  if (typeof untrusted !== 'object' || untrusted === null) return invalid('it is no snapshot');
  if (untrusted.format !== 1) return invalid(`its format is ${textOf(untrusted.format)}, not 1`);
  const { time, devices: saved } = untrusted;
  if (typeof time !== 'number' || !Number.isFinite(time) || time < 0) return invalid(`its time is ${textOf(time)}`);
  if (typeof saved !== 'object' || saved === null) return invalid('it has no devices');
  const stray = Object.keys(saved).find((id) => !devices.has(id));
  if (stray !== undefined) return invalid(`it has the device ${stray}, the machine has not`);
  const apply = [...devices].map(([id, device]) => device.check(saved[id]));
  const { memory: chunks = [] } = untrusted;
  if (!Array.isArray(chunks)) return invalid('its memory is no list');
  for (const chunk of chunks as NonNullable<Snapshot['memory']>) {
    if (!(chunk?.bytes instanceof Uint8Array) || !memory.contains(chunk.address, chunk.bytes.length)) {
      return invalid('its memory does not fit the machine');
    }
  }
  return () => {
    if (untrusted.memory) {
      for (const { address, bytes } of saveMemory(memory)) memory.write(address, new Uint8Array(bytes.length));
      for (const { address, bytes } of chunks as NonNullable<Snapshot['memory']>) memory.write(address, bytes);
    }
    for (const run of apply) run();
  };
}
