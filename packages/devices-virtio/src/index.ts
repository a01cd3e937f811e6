import { definePlugin } from '@trapline/core';

/** This package is the home of virtio devices and their transports; it declares no device type yet. */
export const plugin = definePlugin({ name: '@trapline/devices-virtio', devices: [] });
