/**
 * What a machine composed in code needs: everything of `@trapline/core`, with every backend known to
 * `start()`. Importing this opens nothing.
 */
import { registerBackends } from './backends.js';

await registerBackends();

export * from '@trapline/core';
