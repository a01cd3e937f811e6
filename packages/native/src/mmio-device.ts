// `struct acrn_mmiodev` of <linux/acrn.h>: what the hypercalls of MMIO passthrough are given.
import { type MmioDevice, TraplineError } from '@trapline/core';

const BYTES = 104;
const RESOURCES = 3;
const RESOURCE_AT = 8;
const RESOURCE_BYTES = 32;

/** The device in bytes; entries it does not have are zero. @throws TraplineError `TL_RANGE` if it does not fit */
export function encodeMmioDevice(device: MmioDevice): Uint8Array {
  const { name, resources } = device;
  const refuse = (what: string) => new TraplineError('TL_RANGE', what, { who: name });
  if (resources.length > RESOURCES) {
    throw refuse(`has ${resources.length} regions, and an MMIO device at most ${RESOURCES}`);
  }
  const bytes = new Uint8Array(BYTES);
  const encoded = new TextEncoder().encode(name);
  if (encoded.length > RESOURCE_AT) throw refuse(`its name has ${encoded.length} bytes, and there is room for 8`);
  bytes.set(encoded);
  const view = new DataView(bytes.buffer);
  for (const [i, { guest, host, size, memoryType }] of resources.entries()) {
    for (const [field, value] of [guest, host, size, memoryType].entries()) {
      if (!Number.isSafeInteger(value) || value < 0) throw refuse(`${value} is no address or size`);
      const at = RESOURCE_AT + i * RESOURCE_BYTES + field * 8;
      view.setUint32(at, value >>> 0, true);
      view.setUint32(at + 4, Math.floor(value / 2 ** 32), true);
    }
  }
  return bytes;
}
