import { defineConfig } from 'vitest/config';
import { extractDocs } from './scripts/lib/extract-docs.mjs';
import { mutationPlugins } from './scripts/lib/mutation-plugin.mjs';

// Sources are tested without a build: the `trapline-src` condition resolves a
// workspace package to its TypeScript entry.
const conditions = ['trapline-src', 'module', 'node', 'development|production'];

// The code in the README is tested like the rest of the tree.
extractDocs();

export default defineConfig({
  // Empty but for `npm run mutate`.
  plugins: mutationPlugins(),
  // Decorator metadata carries the constructor injection; vite takes these
  // options from no tsconfig for files outside its `include`.
  oxc: { decorator: { legacy: true, emitDecoratorMetadata: true } },
  resolve: { conditions },
  ssr: { resolve: { conditions } },
  test: {
    // A busy machine is slow, not wrong: many tests start processes of their own.
    testTimeout: 30_000,
    hookTimeout: 30_000,
    include: [
      'packages/*/src/**/*.test.ts',
      'bench/**/*.test.ts',
      'examples/*/**/*.test.ts',
      'tests/*/**/*.test.ts',
      'scripts/**/*.test.ts',
    ],
    exclude: [
      '**/node_modules/**',
      '**/dist/**',
      'tests/consumer/**',
      // Tests that are the material of other tests.
      ...(process.env.TRAPLINE_TEST_FIXTURES ? [] : ['scripts/fixtures/**']),
    ],
  },
});
