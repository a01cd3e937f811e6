import { definePlugin } from '@trapline/core';

/** This package is the home of the hypercalls that hand host MMIO regions to a User VM; it declares no device type yet. */
export const plugin = definePlugin({ name: '@trapline/passthrough-mmio', devices: [] });
