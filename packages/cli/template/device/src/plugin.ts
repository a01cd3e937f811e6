import { definePlugin } from '@trapline/core';
import { DeviceName } from './device-name.js';

export { DeviceName, DeviceNameOptions } from './device-name.js';

/** What `trapline` finds through "trapline": { "plugin": ... } in package.json. */
export const plugin = definePlugin({ name: 'PACKAGE_NAME', devices: [DeviceName] });
