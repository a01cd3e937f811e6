// `npm run test:native [plain|asan|tsan|addon]... [-- PART OF A NAME]`: the C++ tests of the native sources.
//   plain   as they are, with the model check of the handshakes
//   asan    under AddressSanitizer and UndefinedBehaviorSanitizer
//   tsan    under ThreadSanitizer
//   addon   the addon itself under AddressSanitizer, by the tests of this package that need no KVM
// The last line reads `N passed, N failed, N skipped`.
import { spawn, spawnSync } from 'node:child_process';
import { findCompiler } from '../compiler.mjs';
import { testAddon } from './addon.mjs';
import { buildTests, KINDS } from './build.mjs';

const split = process.argv.indexOf('--');
const words = process.argv.slice(2, split < 0 ? undefined : split);
const filter = split < 0 ? [] : process.argv.slice(split + 1);
const kinds = words.length > 0 ? words : [...Object.keys(KINDS), 'addon'];
for (const kind of kinds) {
  if (kind === 'addon' || KINDS[kind]) continue;
  console.error(`test:native: "${kind}" is none of ${[...Object.keys(KINDS), 'addon'].join(', ')}`);
  process.exit(2);
}

const sum = { passed: 0, failed: 0, skipped: 0 };
const platform = process.env.TRAPLINE_PLATFORM ?? process.platform;
const compiler = platform === 'linux' && process.arch === 'x64' ? findCompiler() : undefined;
if (!compiler) {
  const why =
    platform !== 'linux' ? `this is ${platform}` : process.arch !== 'x64' ? `this is ${process.arch}` : undefined;
  console.log(`test:native: not run, ${why ? `${why}: the addon is for Linux on x86-64` : 'there is no C++ compiler'}`);
  sum.skipped += kinds.length;
} else {
  for (const kind of kinds) add(await (kind === 'addon' ? testAddon(compiler) : testKind(kind)));
}
console.log(`${sum.passed} passed, ${sum.failed} failed, ${sum.skipped} skipped`);
if (sum.failed > 0) process.exitCode = 1;

/** @param {typeof sum} figures */
function add(figures) {
  for (const name of /** @type {const} */ (['passed', 'failed', 'skipped'])) sum[name] += figures[name];
}

/** @param {string} kind */
async function testKind(kind) {
  console.log(`--- ${kind}`);
  const { ok, text, program } = await buildTests(/** @type {NonNullable<typeof compiler>} */ (compiler), kind);
  if (text) console.log(text.trimEnd());
  if (!ok) {
    // A compiler without the sanitizer's library is no failure of what is tested.
    if (kind === 'plain' || !/cannot find .*lib?[at]san|unrecognized .*-fsanitize|unsupported option/.test(text)) {
      console.log(`test:native: ${kind} did not compile`);
      return { passed: 0, failed: 1, skipped: 0 };
    }
    console.log(`test:native: ${kind} not run, the compiler has no library for it`);
    return { passed: 0, failed: 0, skipped: 1 };
  }
  const start = command(kind, program);
  if (!start) {
    console.log(
      'test:native: tsan not run, it cannot lay out its memory here, and setarch -R is not allowed or not there',
    );
    return { passed: 0, failed: 0, skipped: 1 };
  }
  return run([...start, ...filter]);
}

/**
 * How the program is started. ThreadSanitizer needs its addresses free: where the kernel scatters mappings widely it
 * refuses to start, and runs without address space randomization.
 * @param {string} kind
 * @param {string} program
 */
function command(kind, program) {
  if (kind !== 'tsan') return [program];
  for (const start of [[program], ['setarch', '-R', program]]) {
    // Whether it starts is a matter of luck with the wider randomization: a few times.
    const starts = () => spawnSync(start[0] ?? '', [...start.slice(1), '--list'], { stdio: 'ignore' }).status === 0;
    if ([1, 2, 3, 4].every(starts)) return start;
  }
  return undefined;
}

/**
 * @param {string[]} start
 * @returns {Promise<typeof sum>}
 */
function run(start) {
  return new Promise((resolve) => {
    const child = spawn(start[0] ?? '', start.slice(1), { stdio: ['ignore', 'pipe', 'inherit'] });
    let text = '';
    child.stdout.setEncoding('utf8').on('data', (part) => {
      text += part;
      // The closing line is ours to print, once for all kinds.
      process.stdout.write(part);
    });
    child.on('close', () => {
      const figures = /(\d+) passed, (\d+) failed, (\d+) skipped\n$/.exec(text)?.slice(1).map(Number);
      const [passed = 0, failed = 1, skipped = 0] = figures ?? [];
      resolve({ passed, failed: figures && passed + failed + skipped > 0 ? failed : 1, skipped });
    });
  });
}
