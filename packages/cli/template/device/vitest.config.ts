export { default } from '@trapline/core/vitest';
