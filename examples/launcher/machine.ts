// A machine is data. Importing this file opens nothing and checks nothing: `trapline check` says what
// is wrong with it, `trapline map` where everything is, and `trapline run` brings it to life.
import { defineMachine, pio, use } from '@trapline/core';
import { DebugExit } from '@trapline/devices-pc';
import { stdio, Uart16550 } from '@trapline/devices-uart';
import { Hello } from '@trapline-examples/hello-device';
import { helloGuest } from './guest/index.js';

export default defineMachine({
  // Guest RAM, laid out by the backend. One vCPU, since nothing else is said.
  memory: '16M',

  // The key is the device's name in tables, traces and errors. Types come from the classes: a misspelt
  // option, or one of the wrong type, is an error in the editor already.
  devices: {
    // A serial port where every PC has its first one. `stdio()` is this terminal; it is opened when the
    // machine starts and given back when it ends. file(path) and unixSocket(path) are others. What is typed
    // before the guest has set up its port waits for that: the guest says so by raising RTS.
    com1: use(Uart16550, { at: pio(0x3f8), irq: 4, console: stdio(), handshake: 'rts' }),

    // A device of one's own, where it says it is: see ../hello-device.
    hello: use(Hello),

    // The guest ends the machine by writing its exit code here.
    exit: use(DebugExit),
  },

  // What runs: a bare-metal program for a CPU, and the same accesses as a script for where there is none.
  // The backend takes the first form it can run.
  guest: helloGuest,
});
