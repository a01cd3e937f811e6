import { Device, type IoHandler, MachineControl, Pio } from '@trapline/core';

/** A write of N ends the machine: `vm.wait()` resolves to `{ reason: 'exit', code: N }`. Reads as 0. */
@Device({ type: 'debug-exit', summary: 'ends the VM with the byte written' })
@Pio({ base: 0xf4, size: 1 })
export class DebugExit implements IoHandler {
  constructor(private readonly machine: MachineControl) {}

  read() {
    return 0;
  }
  write(_offset: number, _size: number, value: number) {
    this.machine.exit(value);
  }
}
