import { TraplineError } from '../errors.js';
import { DIRECTION, PAGE_BYTES, REQUEST, SLOT_COUNT, SLOT_WORDS, STATE, WORD } from './layout.js';

/** One request, decoded: for tests, traces and scripted backends. The dispatcher reads the page itself. */
export interface IoRequest {
  readonly type: 'pio' | 'mmio' | 'pcicfg' | 'write-protect';
  readonly direction: 'read' | 'write';
  /** Exact below 2^53; larger addresses keep their two halves only. */
  readonly address: number;
  readonly addressHigh: number;
  readonly addressLow: number;
  readonly size: number;
  readonly valueLow: number;
  readonly valueHigh: number;
}

const TYPE_NAMES = ['pio', 'mmio', 'pcicfg', 'write-protect'] as const;

/** Two views over one shared I/O request page. */
export class IoreqPage {
  readonly i32: Int32Array;
  readonly u32: Uint32Array;

  /**
   * @param buffer 4096 bytes, shared with whatever plays the hypervisor
   * @param offset byte offset of the page in `buffer`
   */
  constructor(buffer: ArrayBufferLike, offset = 0) {
    if (buffer.byteLength - offset < PAGE_BYTES) {
      throw new TraplineError('TL_ACCESS_INVALID', `an I/O request page has ${PAGE_BYTES} bytes`, {
        details: { byteLength: buffer.byteLength, offset },
      });
    }
    this.i32 = new Int32Array(buffer, offset, PAGE_BYTES / 4);
    this.u32 = new Uint32Array(buffer, offset, PAGE_BYTES / 4);
  }

  /** A page of its own with every slot FREE. */
  static create(): IoreqPage {
    const page = new IoreqPage(new ArrayBuffer(PAGE_BYTES));
    page.free();
    return page;
  }

  /** Sets every slot FREE: a zeroed page would read as sixteen pending requests. */
  free(): void {
    for (let slot = 0; slot < SLOT_COUNT; slot++) this.i32[slot * SLOT_WORDS + WORD.state] = STATE.FREE;
  }

  state(slot: number): number {
    return this.i32[slot * SLOT_WORDS + WORD.state] as number;
  }

  /** Writes a request into a slot and leaves its state alone: what a hypervisor does before publishing. */
  encode(slot: number, request: Pick<IoRequest, 'type' | 'direction' | 'address' | 'size'> & Partial<IoRequest>): void {
    const at = slot * SLOT_WORDS;
    const w = this.i32;
    w[at + WORD.type] = TYPE_NAMES.indexOf(request.type);
    w[at + WORD.direction] = request.direction === 'write' ? DIRECTION.WRITE : DIRECTION.READ;
    w[at + WORD.addressLow] = request.addressLow ?? request.address | 0;
    w[at + WORD.addressHigh] = request.addressHigh ?? Math.floor(request.address / 0x1_0000_0000);
    w[at + WORD.sizeLow] = request.size;
    w[at + WORD.sizeHigh] = 0;
    w[at + WORD.valueLow] = request.valueLow ?? 0;
    if (request.type === 'mmio') w[at + WORD.valueHigh] = request.valueHigh ?? 0;
  }

  decode(slot: number): IoRequest {
    const at = slot * SLOT_WORDS;
    const u = this.u32;
    const word = (index: number) => u[at + index] as number;
    const mmio = word(WORD.type) === REQUEST.MMIO;
    return {
      type: TYPE_NAMES[word(WORD.type)] ?? 'write-protect',
      direction: word(WORD.direction) === DIRECTION.WRITE ? 'write' : 'read',
      address: word(WORD.addressHigh) * 0x1_0000_0000 + word(WORD.addressLow),
      addressHigh: word(WORD.addressHigh),
      addressLow: word(WORD.addressLow),
      size: word(WORD.sizeLow),
      valueLow: word(WORD.valueLow),
      valueHigh: mmio ? word(WORD.valueHigh) : 0,
    };
  }
}
