// `npm run consumer`: what a stranger gets who never saw this repository.
// Every package is packed, installed elsewhere with npm and with pnpm, compiled both ways, and the README's
// device is run there.   --keep leaves the folder behind.
import { existsSync, mkdirSync, mkdtempSync, readFileSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { namedBlocks } from '../../scripts/lib/extract-docs.mjs';
import { ROOT } from '../../scripts/lib/paths.mjs';
import { setUpOrExit } from '../../scripts/lib/setup-main.mjs';
import { packAll, packProblems, pnpm, run } from './pack.mjs';
import { entriesOf, useTarballs, writeProject } from './project.mjs';

await setUpOrExit();
const counts = { passed: 0, failed: 0 };
const folder = mkdtempSync(join(tmpdir(), 'trapline consumer '));
try {
  main();
} finally {
  if (process.argv.includes('--keep')) console.log(`kept: ${folder}`);
  else rmSync(folder, { recursive: true, force: true });
}
console.log(`${counts.passed} passed, ${counts.failed} failed, 0 skipped`);
if (counts.failed > 0) process.exitCode = 1;

function main() {
  const tarballs = join(folder, 'tarballs');
  mkdirSync(tarballs);
  const packages = check('pack every package', () => packAll(tarballs));
  if (packages === undefined) return;
  for (const packed of packages) check(`contents of ${packed.name}`, () => refuse(packProblems(packed)));

  const files = readmeFiles();
  for (const [manager, install] of Object.entries({
    npm: ['npm', 'install', '--no-audit', '--no-fund'],
    pnpm: [...pnpm, 'install', '--no-frozen-lockfile', '--ignore-workspace'],
  })) {
    const project = join(folder, `with ${manager}`);
    writeProject(project, packages, files);
    if (check(`${manager}: install`, () => run(install, project)) === undefined) continue;
    checkProject(manager, project, packages, [...files.keys()]);
  }
  checkNewDevice(packages);
}

/**
 * A package as `trapline new device` writes it.
 * @param {readonly import('./pack.mjs').Packed[]} packages
 */
function checkNewDevice(packages) {
  const project = join(folder, 'new device');
  const trapline = join(folder, 'with npm', 'node_modules', '.bin', 'trapline');
  const written = check('trapline new device', () => {
    run([trapline, 'new', 'device', 'acme-thing', '--dir', project], join(folder, 'with npm'));
    useTarballs(project, packages);
    return run(['npm', 'install', '--no-audit', '--no-fund'], project);
  });
  if (written === undefined) return;
  for (const script of ['build', 'test', 'check']) {
    check(`the new device: npm run ${script}`, () => run(['npm', 'run', script], project));
  }
}

/**
 * @param {string} manager
 * @param {string} project
 * @param {readonly import('./pack.mjs').Packed[]} packages
 * @param {readonly string[]} files
 */
function checkProject(manager, project, packages, files) {
  /** @param {string} name */
  const bin = (name) => join(project, 'node_modules', '.bin', name);
  for (const entry of packages.flatMap(entriesOf)) {
    check(`${manager}: plain node imports ${entry}`, () =>
      run([process.execPath, '--input-type=module', '--eval', `await import('${entry}')`], project),
    );
  }
  for (const resolution of ['NodeNext', 'bundler']) {
    check(`${manager}: compile with moduleResolution ${resolution}`, () =>
      run([bin('tsc'), '-p', `tsconfig.${resolution}.json`], project),
    );
  }
  if (files.some((name) => name.includes('.test.'))) {
    check(`${manager}: the README's test`, () => run([bin('vitest'), 'run'], project));
  }
  if (files.includes('machine.ts')) {
    for (const command of ['check', 'run']) {
      check(`${manager}: trapline ${command} machine.ts`, () => run([bin('trapline'), command, 'machine.ts'], project));
    }
  }
}

/** The device that a newcomer types in, from the README itself. */
function readmeFiles() {
  const path = join(ROOT, 'README.md');
  const blocks = namedBlocks(existsSync(path) ? readFileSync(path, 'utf8') : '');
  const files = new Map(blocks.map(({ file, text }) => [file, text]));
  check('README.md shows a device, its test and its machine', () => {
    const names = [...files.keys()];
    const missing = [/^(?!machine|.*\.test\.).*\.ts$/, /\.test\.ts$/, /^machine\.ts$/].filter(
      (pattern) => !names.some((name) => pattern.test(name)),
    );
    refuse(missing.map((pattern) => `no block with a title like ${pattern}; there are: ${names.join(', ') || 'none'}`));
  });
  return files;
}

/**
 * Does one thing, says how it went and goes on.
 * @template T
 * @param {string} what
 * @param {() => T} action
 * @returns {T | undefined} undefined where it failed
 */
function check(what, action) {
  const began = Date.now();
  try {
    const result = action();
    counts.passed++;
    console.log(`ok      ${((Date.now() - began) / 1000).toFixed(1).padStart(5)} s  ${what}`);
    return result;
  } catch (error) {
    counts.failed++;
    console.log(`FAILED  ${((Date.now() - began) / 1000).toFixed(1).padStart(5)} s  ${what}`);
    console.log(/** @type {Error} */ (error).message.replaceAll(/^/gm, '        '));
    return undefined;
  }
}

/** @param {readonly string[]} problems */
function refuse(problems) {
  if (problems.length > 0) throw new Error(problems.join('\n'));
}
