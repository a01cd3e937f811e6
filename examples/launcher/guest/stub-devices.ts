// Doubles of the launcher's devices, to test the guest and not the devices: they note how it sets up its
// port, and one lies about its id on demand, which the real ones cannot. ../machine.test.ts runs the guest
// with the real ones.
import { Device, type IoHandler, IrqLine, MachineControl, Mmio, Pio } from '@trapline/core';

/** A serial port that is always ready to send, and sends what it is given to type. */
@Device({ type: 'stub-uart', summary: 'serial port for the test of the guest', irq: 4 })
@Pio({ base: 0x3f8, size: 8 })
export class StubUart implements IoHandler {
  /** What the guest has printed. */
  text = '';
  /** Called whenever the guest has printed a whole line. */
  onLine: (line: string) => void = () => undefined;
  /** Writes to the registers beside the data port, as `[offset, value]`. */
  readonly setUp: [number, number][] = [];
  private readonly typed: number[] = [];
  private divisorLatch = false;
  private receiveInterrupt = false;

  constructor(private readonly irq: IrqLine) {}

  /** Types a text, one character per code. */
  type(text: string): void {
    for (const character of text) this.typed.push(character.charCodeAt(0));
    this.drive();
  }

  read(offset: number): number {
    if (offset === 5) return 0x60 | (this.typed.length > 0 ? 1 : 0);
    if (offset !== 0) return 0;
    const byte = this.typed.shift() ?? 0;
    this.drive();
    return byte;
  }

  write(offset: number, _size: number, value: number): void {
    if (offset === 3) this.divisorLatch = (value & 0x80) !== 0;
    if (offset === 0 && !this.divisorLatch) {
      this.print(String.fromCharCode(value));
      return;
    }
    this.setUp.push([offset, value]);
    if (offset === 1 && !this.divisorLatch) this.receiveInterrupt = (value & 1) !== 0;
    this.drive();
  }

  private print(character: string): void {
    this.text += character;
    if (character !== '\n') return;
    this.onLine(this.text.split('\n').at(-2) ?? '');
  }

  private drive(): void {
    this.irq.set(this.receiveInterrupt && this.typed.length > 0);
  }
}

/** The hello device, as its guest expects it. */
@Device({ type: 'stub-hello', summary: 'hello-device for the test of the guest' })
export class StubHello {
  /** What the ports answer for an id, to make a check fail. */
  id = 0x48;
  private scratch = 0;
  private at = 0;
  private last = 0;
  private total = 0;
  private overflow = 0;
  private static readonly greeting = 'good morning\0';

  @Pio({ base: 0x2a0, size: 3 }) readonly ports: IoHandler = {
    read: (offset) => {
      if (offset === 0) return this.id;
      if (offset === 2) return this.scratch;
      const byte = StubHello.greeting.charCodeAt(this.at);
      this.at = (this.at + 1) % StubHello.greeting.length;
      return byte;
    },
    write: (offset, _size, value) => {
      if (offset === 2) this.scratch = value;
    },
  };

  @Mmio({ base: 0xd000_0000, size: 0x14 }) readonly regs: IoHandler = {
    read: (offset, size) => {
      const magic = [0x48, 0x6c, 0x6c, 0x6f];
      if (offset < 4) return magic.slice(offset, offset + size).reduceRight((value, byte) => value * 256 + byte, 0);
      return [this.last, this.total, this.overflow, 0][(offset >> 2) - 1] ?? 0;
    },
    write: (offset, _size, value) => {
      if (offset === 0x4) {
        this.last = value;
        const sum = this.total + value;
        this.total = sum >>> 0;
        if (sum > 0xffff_ffff) this.overflow = 1;
      }
      if (offset === 0xc) this.overflow &= ~value;
    },
  };
}

/** Ends the machine with the byte written. */
@Device({ type: 'stub-exit', summary: 'debug exit for the test of the guest' })
@Pio({ base: 0xf4, size: 1 })
export class StubExit implements IoHandler {
  constructor(private readonly machine: MachineControl) {}
  read(): number {
    return 0;
  }
  write(_offset: number, _size: number, value: number): void {
    this.machine.exit(value);
  }
}
