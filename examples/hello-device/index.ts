import { definePlugin } from '@trapline/core';
import { Hello } from './hello.js';

export { Hello, HelloOptions } from './hello.js';

/** What `trapline` finds through the `trapline.plugin` key of package.json. */
export const plugin = definePlugin({ name: '@trapline-examples/hello-device', devices: [Hello] });
