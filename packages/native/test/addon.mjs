// The addon under AddressSanitizer: built a second time, loaded by a Node that preloads the sanitizer.
import { spawnSync } from 'node:child_process';
import { existsSync, readdirSync } from 'node:fs';
import { join } from 'node:path';
import { runVitest } from '../../../scripts/lib/vitest.mjs';
import { PACKAGE } from './build.mjs';

/** What starts compilers or other programs, which are none of the sanitizer's business. */
const LEFT_OUT = new Set(['build.test.ts']);

/**
 * Tests that need KVM skip themselves where there is none.
 * @param {import('../compiler.mjs').Compiler} compiler
 */
export async function testAddon(compiler) {
  console.log('--- addon');
  const library = spawnSync(compiler.command, [...compiler.prefix, '-print-file-name=libasan.so'], {
    encoding: 'utf8',
  });
  const asan = library.stdout.trim();
  // A compiler that has no such file repeats the name.
  if (!existsSync(asan)) {
    console.log('test:native: addon not run, the compiler has no libasan.so');
    return { passed: 0, failed: 0, skipped: 1 };
  }
  const build = spawnSync(process.execPath, [join(PACKAGE, 'build.mjs')], {
    stdio: 'inherit',
    env: { ...process.env, TRAPLINE_SANITIZE: 'address', TRAPLINE_NATIVE: 'required' },
  });
  if (build.status !== 0) return { passed: 0, failed: 1, skipped: 0 };
  const tests = readdirSync(join(PACKAGE, 'src')).filter((name) => name.endsWith('.test.ts') && !LEFT_OUT.has(name));
  const { code, outcome } = await runVitest(
    tests.map((name) => `packages/native/src/${name}`),
    {
      env: {
        ...process.env,
        TRAPLINE_NATIVE_ADDON: join(PACKAGE, 'build', 'address', 'trapline_native.node'),
        LD_PRELOAD: asan,
        // Node itself leaves memory to the end of the process; the others are as in main.cc.
        ASAN_OPTIONS: 'detect_leaks=0:detect_stack_use_after_return=1',
      },
    },
  );
  const passed = outcome?.passed.length ?? 0;
  const failed = (outcome?.failed.length ?? 0) + (outcome?.errors.length ?? 0);
  return { passed, failed: failed === 0 && code !== 0 ? 1 : failed, skipped: outcome?.skipped.length ?? 0 };
}
