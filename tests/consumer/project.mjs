import { mkdirSync, readFileSync, writeFileSync } from 'node:fs';
import { dirname, join } from 'node:path';
import { ROOT } from '../../scripts/lib/paths.mjs';

/** @typedef {import('./pack.mjs').Packed} Packed */

/** Subpaths that are data, or that only a test runner can load. */
const NOT_FOR_NODE = ['./tsconfig.json', './package.json', './vitest'];

/**
 * Every specifier that a package offers to plain node.
 * @param {Packed} packed
 */
export function entriesOf({ name, manifest }) {
  return Object.keys(manifest.exports)
    .filter((key) => !NOT_FOR_NODE.includes(key))
    .map((key) => name + key.slice(1));
}

/**
 * Writes a project that a stranger could have: the packages as dependencies, the text's files, two ways to compile.
 * @param {string} folder
 * @param {readonly Packed[]} packages
 * @param {ReadonlyMap<string, string>} files
 */
export function writeProject(folder, packages, files) {
  const tarballs = Object.fromEntries(packages.map((packed) => [packed.name, `file:${packed.tarball}`]));
  const { devDependencies } = JSON.parse(readFileSync(join(ROOT, 'package.json'), 'utf8'));
  /** @param {string[]} names */
  const pinned = (...names) => Object.fromEntries(names.map((name) => [name, devDependencies[name]]));
  write(folder, 'package.json', {
    name: 'a-consumer',
    private: true,
    type: 'module',
    dependencies: { ...tarballs, zod: catalogVersion('zod') },
    devDependencies: pinned('typescript', 'vitest', 'vite', '@types/node'),
    // What a package of ours wants of another must be the tarball too: nothing here is in a registry yet.
    overrides: Object.fromEntries(packages.map(({ name }) => [name, `$${name}`])),
    pnpm: { overrides: tarballs },
  });
  write(folder, 'every-entry.ts', everyEntry(packages));
  write(folder, 'vitest.config.ts', "export { default } from '@trapline/core/vitest';\n");
  for (const [name, content] of files) write(folder, name, content);
  const sources = ['every-entry.ts', ...[...files.keys()].filter((name) => name.endsWith('.ts'))];
  for (const [module, moduleResolution] of [
    ['NodeNext', 'NodeNext'],
    ['ESNext', 'bundler'],
  ]) {
    write(folder, `tsconfig.${moduleResolution}.json`, {
      extends: '@trapline/core/tsconfig.json',
      compilerOptions: { module, moduleResolution, noEmit: true, skipLibCheck: false, types: ['node'] },
      files: sources,
    });
  }
}

/**
 * Points a project's package.json at the tarballs, where it names versions that no registry has yet.
 * @param {string} folder
 * @param {readonly Packed[]} packages
 */
export function useTarballs(folder, packages) {
  const manifest = JSON.parse(readFileSync(join(folder, 'package.json'), 'utf8'));
  manifest.overrides = {};
  for (const { name, tarball } of packages) {
    const wanted = [manifest.dependencies, manifest.devDependencies].find((list) => list?.[name]);
    if (wanted) wanted[name] = `file:${tarball}`;
    // npm refuses to override a direct dependency but by a reference to it.
    manifest.overrides[name] = wanted ? `$${name}` : `file:${tarball}`;
  }
  write(folder, 'package.json', manifest);
}

/** @param {readonly Packed[]} packages */
function everyEntry(packages) {
  const entries = packages.flatMap(entriesOf);
  const imports = entries.map((entry, i) => `import * as entry${i} from '${entry}';`);
  return `${imports.join('\n')}\nexport const all: object[] = [${entries.map((_, i) => `entry${i}`).join(', ')}];\n`;
}

/** @param {string} name */
function catalogVersion(name) {
  const text = readFileSync(join(ROOT, 'pnpm-workspace.yaml'), 'utf8');
  return new RegExp(`^ +${name}: (\\S+)$`, 'm').exec(text)?.[1] ?? '*';
}

/**
 * @param {string} folder
 * @param {string} name
 * @param {unknown} content
 */
function write(folder, name, content) {
  const path = join(folder, name);
  mkdirSync(dirname(path), { recursive: true });
  writeFileSync(path, typeof content === 'string' ? content : `${JSON.stringify(content, null, 2)}\n`);
}
