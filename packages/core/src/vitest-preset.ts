// `@trapline/core/vitest`: what vitest must be told to run tests of devices. The parameters of a
// device's constructor are injected by type, so the transpiler has to emit those types; vitest takes
// that from no tsconfig for files outside of its `include`.
import { mergeConfig, type ViteUserConfig } from 'vitest/config';

const preset: ViteUserConfig = {
  oxc: { decorator: { legacy: true, emitDecoratorMetadata: true } },
};

/** A vitest configuration for tests of devices, with the project's own settings over it. */
export function defineTraplineConfig(config: ViteUserConfig = {}): ViteUserConfig {
  return mergeConfig(preset, config);
}

// A vitest configuration is a default export: `export { default } from '@trapline/core/vitest'`.
export default preset;
