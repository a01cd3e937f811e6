import type { GuestMemory } from '../device/tokens.js';
import { TraplineError } from '../errors.js';
import type { DeviceInstance } from './device-instance.js';
import type { Snapshot } from './vm-types.js';

const CHUNK = 65536;

/** The chunks of guest memory that hold anything but zeros. */
export function saveMemory(memory: GuestMemory): NonNullable<Snapshot['memory']> {
  const chunks: { address: number; bytes: Uint8Array }[] = [];
  // RAM may have holes: walk addresses, not bytes, until all of it was seen.
  for (let address = 0, seen = 0; seen < memory.size; address += CHUNK) {
    const length = memory.contains(address, CHUNK) ? CHUNK : partial(memory, address);
    seen += length;
    if (length === 0) {
      if (address > Number.MAX_SAFE_INTEGER / 2) break;
      continue;
    }
    const bytes = memory.read(address, length);
    if (bytes.some((byte) => byte !== 0)) chunks.push({ address, bytes });
  }
  return chunks;
}

/** Bytes of RAM at the beginning of a chunk that is not RAM throughout; RAM comes in pages. */
function partial(memory: GuestMemory, address: number): number {
  let length = 0;
  while (length < CHUNK && memory.contains(address + length, 4096)) length += 4096;
  return length;
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
  if (untrusted.format !== 1) return invalid(`its format is ${String(untrusted.format)}, not 1`);
  const { time, devices: saved } = untrusted;
  if (typeof time !== 'number' || !Number.isFinite(time) || time < 0) return invalid(`its time is ${String(time)}`);
  if (typeof saved !== 'object' || saved === null) return invalid('it has no devices');
  const stray = Object.keys(saved).find((id) => !devices.has(id));
  if (stray !== undefined) return invalid(`it has the device ${stray}, the machine has not`);
  const apply = [...devices].map(([id, device]) => device.check(saved[id]));
  const chunks = untrusted.memory ?? [];
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
