import {
  Device,
  defineMachine,
  type IoHandler,
  type Machine,
  Mmio,
  SimJs,
  simJs,
  start,
  use,
  type Vm,
} from '@trapline/core';

/** Bytes of one range in the machine with many. */
export const CELL = 64;
/** Below 2^31, so that every address is a small integer to the engine. */
export const BASE = 0x1000_0000;
const CLASS_COUNT = 16;

/**
 * Device classes of different shape, so that the dispatcher's call is as megamorphic as in a real
 * machine; each just remembers and returns. Class n owns `ranges` neighbouring ranges that together
 * always cover the same addresses.
 */
export function benchClass(index: number, ranges: number, cells: number): new () => IoHandler {
  class Bench implements IoHandler {
    value = index;
    [key: `own${number}`]: number;
    constructor() {
      this[`own${index}`] = index;
    }
    read(offset: number): number {
      return (this.value + offset) & 0xff;
    }
    write(_offset: number, _size: number, value: number): void {
      this.value = value & 0xff;
    }
  }
  const size = (cells / ranges) * CELL;
  const first = BASE + index * cells * CELL;
  for (let i = 0; i < ranges; i++) Mmio({ base: first + i * size, size })(Bench);
  Device({ type: `bench-${index}`, summary: 'benchmark device' })(Bench);
  return Bench;
}

/** A machine of `classes` device classes with `ranges` ranges each, over `classes * cells` cells of 64 bytes. */
export function benchMachine(classes: number, ranges: number, cells: number): Machine {
  const devices = Object.fromEntries(
    Array.from({ length: classes }, (_, i) => [`d${i}`, use(benchClass(i, ranges, cells))]),
  );
  return defineMachine({ memory: '64K', devices });
}

/** Starts a machine on a scripted backend and hands out its CPU's requests. */
export async function startSim(machine: Machine): Promise<{ vm: Vm; sim: SimJs }> {
  let sim: SimJs | undefined;
  const provider = {
    ...simJs(),
    open: (config: ConstructorParameters<typeof SimJs>[0]) => {
      sim = new SimJs(config);
      return Promise.resolve(sim);
    },
  };
  const vm = await start(machine, { backend: provider });
  return { vm, sim: sim as SimJs };
}

/** Random 4-byte-aligned addresses over the cells of `classes` classes. The same for the same arguments. */
export function accessStream(count: number, classes: number, cells: number): Int32Array {
  let seed = 12345;
  return Int32Array.from({ length: count }, () => {
    seed = (Math.imul(seed, 1103515245) + 12345) >>> 0;
    const slots = classes * cells * (CELL / 4);
    return BASE + Math.floor((seed / 2 ** 32) * slots) * 4;
  });
}

export { CLASS_COUNT };
