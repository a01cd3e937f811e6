// Builds the addon with nothing but a C++ compiler: no node-gyp, no Node headers to download.
//   TRAPLINE_NATIVE=required   a missing compiler or a failed compile is an error (exit 1)
//   TRAPLINE_SANITIZE=address  builds another addon, into build/address, for a Node that preloads AddressSanitizer
//   TRAPLINE_PLATFORM=...      stands in for this machine's platform, TRAPLINE_NO_COMPILER=1 for a machine without one
import { createHash } from 'node:crypto';
import { mkdirSync, mkdtempSync, readdirSync, readFileSync, renameSync, rmSync, writeFileSync } from 'node:fs';
import { createRequire } from 'node:module';
import { availableParallelism } from 'node:os';
import { dirname, join, relative } from 'node:path';
import { fileURLToPath } from 'node:url';
import { compile, findCompiler } from './compiler.mjs';

const here = dirname(fileURLToPath(import.meta.url));
const sources = join(here, 'src', 'native');
const sanitize = process.env.TRAPLINE_SANITIZE ?? '';
const output = join(here, 'build', sanitize);
const addon = join(output, 'trapline_native.node');
const stampFile = join(output, 'stamp');
const logFile = join(output, 'build.log');
const required = process.env.TRAPLINE_NATIVE === 'required';

/** One plain line, and the end: without the addon everything else goes on. */
function without(reason) {
  console.error(`native: ${reason}`);
  process.exit(required ? 1 : 0);
}

/** The folder of an installed package's headers. */
function headers(name, folder) {
  const require = createRequire(import.meta.url);
  return join(dirname(require.resolve(`${name}/package.json`)), folder);
}

const platform = process.env.TRAPLINE_PLATFORM ?? process.platform;
if (platform !== 'linux') without(`not built on ${platform}: KVM and the fast path need Linux; everything else works`);

const compiler = findCompiler();
if (!compiler) {
  without(
    'no C++ compiler found ($CXX, c++, g++, clang++): KVM and the fast path stay off; ' +
      'install one (Debian: apt install g++) and run npm start again',
  );
}

if (process.arch !== 'x64')
  without(`not built on ${process.arch}: KVM needs an x86-64 host so far; everything else works`);

const files = readdirSync(sources).sort();
const units = files.filter((name) => name.endsWith('.cc'));
const flags = [
  '-std=c++20',
  ...(sanitize ? ['-O1', '-g', `-fsanitize=${sanitize}`, '-fno-omit-frame-pointer'] : ['-O2']),
  '-fPIC',
  '-pthread',
  '-Wall',
  '-Wextra',
  '-fvisibility=hidden',
  '-DNAPI_VERSION=9',
  '-DNAPI_CPP_EXCEPTIONS',
  '-DNODE_ADDON_API_DISABLE_DEPRECATED',
];
// The sanitizer watches the C++ library it finds loaded; otherwise nobody need have ours.
const linkFlags = [
  '-shared',
  '-pthread',
  ...(sanitize ? [`-fsanitize=${sanitize}`] : ['-static-libstdc++', '-static-libgcc']),
];

const hash = createHash('sha256');
for (const name of files)
  hash
    .update(name)
    .update('\0')
    .update(readFileSync(join(sources, name)))
    .update('\0');
hash.update(JSON.stringify([flags, linkFlags, compiler.command, compiler.prefix, compiler.version, process.arch]));
for (const name of ['node-api-headers', 'node-addon-api'])
  hash.update(readFileSync(join(headers(name, '.'), 'package.json')));
const stamp = hash.digest('hex');

function upToDate() {
  try {
    readFileSync(addon);
    return readFileSync(stampFile, 'utf8') === stamp;
  } catch {
    return false;
  }
}
if (upToDate()) process.exit(0);

/** Compiles every unit, as many at a time as there are CPUs, and links them into `target`. */
async function build(folder, target) {
  const include = ['-isystem', headers('node-api-headers', 'include'), '-isystem', headers('node-addon-api', '.')];
  const results = new Array(units.length);
  let next = 0;
  const worker = async () => {
    for (let unit = next++; unit < units.length; unit = next++) {
      const source = join('src', 'native', units[unit]);
      const args = [...flags, ...include, '-c', source, '-o', join(folder, `${units[unit]}.o`)];
      results[unit] = await compile(compiler, args, here);
    }
  };
  await Promise.all(Array.from({ length: availableParallelism() }, worker));
  if (results.every(({ ok }) => ok)) {
    const objects = units.map((unit) => join(folder, `${unit}.o`));
    results.push(await compile(compiler, [...linkFlags, '-o', target, ...objects], here));
  }
  return { ok: results.every(({ ok }) => ok), text: results.map(({ text }) => text).join('') };
}

mkdirSync(output, { recursive: true });
// Another process may be loading the old file, or building at the same time: a folder of our own, then one rename.
const scratch = mkdtempSync(join(output, 'tmp-'));
try {
  const built = join(scratch, 'trapline_native.node');
  const { ok, text } = await build(scratch, built);
  writeFileSync(logFile, text);
  if (ok) {
    writeFileSync(join(scratch, 'stamp'), stamp);
    renameSync(built, addon);
    renameSync(join(scratch, 'stamp'), stampFile);
  } else {
    const lines = text.split('\n');
    console.error(`native: ${(lines.find((line) => /\berror\b/i.test(line)) ?? lines[0] ?? '').trim()}`);
    console.error(
      `native: the addon did not compile, so KVM and the fast path stay off; see ${relative(process.cwd(), logFile)}`,
    );
    process.exitCode = required ? 1 : 0;
  }
} finally {
  rmSync(scratch, { recursive: true, force: true });
}
