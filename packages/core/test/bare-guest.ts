// Run in a context that has the language and nothing else: see bare.test.ts.
import { Device, defineMachine, type IoHandler, Options, Pio, type SimJs, start, use } from '../src/index.js';

class Adder implements IoHandler {
  static inject = [Options] as const;
  private sum: number;
  constructor(options: { readonly from: number }) {
    this.sum = options.from ?? 40;
  }
  read() {
    return this.sum;
  }
  write(_offset: number, _size: number, value: number) {
    this.sum += value;
  }
}
Device({ type: 'adder', summary: 'adds what is written' })(Adder);
Pio({ base: 0x10, size: 1 })(Adder);

/** Composes a machine, serves two accesses, closes it. */
export async function answer(): Promise<number> {
  const vm = await start(defineMachine({ memory: '64K', devices: { adder: use(Adder) } }), { backend: 'sim-js' });
  const cpu = (vm.backend as SimJs).cpus[0] as SimJs['cpus'][0];
  cpu.write('pio', 0x10, 1, 2);
  const result = cpu.read('pio', 0x10, 1);
  await vm.reset();
  await vm.restore(await vm.save());
  await vm.close();
  return result;
}
