/** How a region is attached beside its address; no device knows of it. */
export interface AttachmentOptions {
  /** Bytes on the bus from one register to the next; a power of two. */
  readonly stride?: 1 | 2 | 4 | 8 | 16;
  /** Byte order of the registers on the bus. Default `little`. */
  readonly endian?: 'little' | 'big';
}

/** Where a region of a device instance is: what `at` takes. */
export interface Attachment extends AttachmentOptions {
  readonly kind: 'pio' | 'mmio';
  readonly base: number;
}

/** At I/O port `base`, 0 to 0xffff. */
export function pio(base: number, options: AttachmentOptions = {}): Attachment {
  return { kind: 'pio', base, ...options };
}

/** At guest-physical address `base`. */
export function mmio(base: number, options: AttachmentOptions = {}): Attachment {
  return { kind: 'mmio', base, ...options };
}
