import { MachineControl } from '../device/tokens.js';
import type { VmExit } from './vm-types.js';

/** What a machine does for its devices once no handler runs any more. */
export interface Controlled {
  soon(run: () => void): void;
  finish(exit: VmExit): void;
  reset(): void;
}

/** The {@link MachineControl} of a machine: what a device asks for happens after its access completed. */
export class VmControl extends MachineControl {
  constructor(private readonly vm: Controlled) {
    super();
  }

  exit(code: number): void {
    // Now: what is no number costs the device, not the machine.
    const exit: VmExit = { reason: 'exit', code: code & 0xff };
    this.vm.soon(() => this.vm.finish(exit));
  }
  powerOff(): void {
    this.vm.soon(() => this.vm.finish({ reason: 'power-off' }));
  }
  reset(): void {
    this.vm.soon(() => this.vm.reset());
  }
}
