// The shared I/O request page of ACRN: `struct acrn_io_request_buffer` of <linux/acrn.h>.
// 16 slots of 256 bytes, slot index = vCPU id. All indices below count 32-bit words.

/** Bytes of the shared page. */
export const PAGE_BYTES = 4096;
/** Slots in the page: one request in flight per vCPU, at most 16 vCPUs per VM. */
export const SLOT_COUNT = 16;
/** 32-bit words per slot (256 bytes). */
export const SLOT_WORDS = 64;

/** 32-bit word index of each field inside a slot. */
export const WORD = {
  type: 0,
  completionPolling: 1,
  direction: 16,
  addressLow: 18,
  addressHigh: 19,
  sizeLow: 20,
  sizeHigh: 21,
  valueLow: 22,
  /** High half of an MMIO value; the bus number of a PCI configuration request. */
  valueHigh: 23,
  pciBus: 23,
  pciDevice: 24,
  pciFunction: 25,
  pciRegister: 26,
  kernelHandled: 33,
  state: 34,
} as const;

/** `acrn_io_request.type`. `WRITE_PROTECT` exists in the hypervisor only; a device model drops the write. */
export const REQUEST = { PIO: 0, MMIO: 1, PCICFG: 2, WRITE_PROTECT: 3 } as const;

/** `direction` of a request. */
export const DIRECTION = { READ: 0, WRITE: 1 } as const;

/** `processed`, the state word. A zeroed page reads as "all PENDING": slots must be set FREE first. */
export const STATE = { PENDING: 0, COMPLETE: 1, PROCESSING: 2, FREE: 3 } as const;
