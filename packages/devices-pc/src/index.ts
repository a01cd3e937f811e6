import { definePlugin } from '@trapline/core';
import { DebugExit } from './debug-exit.js';

export { DebugExit };

/** What `trapline` loads. */
export const plugin = definePlugin({ name: '@trapline/devices-pc', devices: [DebugExit] });
