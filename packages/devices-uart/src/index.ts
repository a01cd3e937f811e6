import { definePlugin } from '@trapline/core';
import { Uart16550 } from './uart16550.js';

export type { SerialStats } from './console-link.js';
export { type FileConsoleOptions, file } from './consoles/file.js';
export { type MemoryConsole, type MemoryConsoleOptions, memoryConsole } from './consoles/memory.js';
export { type ConsoleInput, configureStdio, type StdioOptions, stdio } from './consoles/stdio.js';
export { type UnixSocketOptions, unixSocket } from './consoles/unix-socket.js';
export type { ModemInputs } from './modem.js';
export { Uart16550Options } from './options.js';
export { type CharacterErrors, Uart16550 } from './uart16550.js';

/** What `trapline` loads. */
export const plugin = definePlugin({ name: '@trapline/devices-uart', devices: [Uart16550] });
