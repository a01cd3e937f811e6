// Which plugins a project has: those its dependencies' package.json files name.
import { existsSync, readFileSync, realpathSync } from 'node:fs';
import { dirname, join, resolve } from 'node:path';
import { TraplineError } from '@trapline/core';

/** A module that should export `plugin`. */
export interface PluginFile {
  /** Absolute, symbolic links resolved. */
  readonly path: string;
  /** The package it belongs to, if that is known. */
  readonly packageName: string | undefined;
}

interface Manifest {
  readonly name?: string;
  readonly trapline?: { readonly plugin?: string };
  readonly dependencies?: Readonly<Record<string, string>>;
  readonly devDependencies?: Readonly<Record<string, string>>;
  readonly optionalDependencies?: Readonly<Record<string, string>>;
  readonly peerDependencies?: Readonly<Record<string, string>>;
}

/** The nearest folder with a package.json, from `start` upwards. */
export function nearestPackage(start: string): string | undefined {
  for (let at = resolve(start); ; at = dirname(at)) {
    if (existsSync(join(at, 'package.json'))) return at;
    if (dirname(at) === at) return undefined;
  }
}

/** The plugins of a project: its own, if it is one, and those of its dependencies. */
export function projectPlugins(folder: string): PluginFile[] {
  const manifest = readManifest(folder);
  const names = new Set([
    ...Object.keys(manifest.dependencies ?? {}),
    ...Object.keys(manifest.devDependencies ?? {}),
    ...Object.keys(manifest.optionalDependencies ?? {}),
    ...Object.keys(manifest.peerDependencies ?? {}),
  ]);
  const folders = [...names].flatMap((name) => installed(name, folder) ?? []);
  return [folder, ...folders].flatMap((at) => pluginOf(at) ?? []);
}

/** The plugin a package offers, found from `folder`. @throws TraplineError `TL_PLUGIN` */
export function packagePlugin(name: string, folder: string): PluginFile {
  const at = installed(name, folder);
  const refuse = (what: string, fix: string) => new TraplineError('TL_PLUGIN', what, { who: name, fix });
  if (!at) throw refuse('there is no such file or package', `check the path, or install it: npm install ${name}`);
  const plugin = pluginOf(at);
  if (plugin) return plugin;
  throw refuse('its package.json names no plugin', 'it should say: "trapline": { "plugin": "./dist/plugin.js" }');
}

function pluginOf(folder: string): PluginFile | undefined {
  const manifest = readManifest(folder);
  const file = manifest.trapline?.plugin;
  if (file === undefined) return undefined;
  return { path: sourceOrBuilt(folder, file), packageName: manifest.name };
}

/** A package outside `node_modules` is being worked on: its source, if there is one, is newer than what was built. */
function sourceOrBuilt(folder: string, file: string): string {
  const built = join(folder, file);
  const source = join(folder, file.replace(/^(\.\/)?dist\//, 'src/').replace(/\.(m?)js$/, '.$1ts'));
  return !folder.split(/[\\/]/).includes('node_modules') && existsSync(source) ? source : built;
}

/** Where a package is, looked up as node does; its `exports` need not list its package.json. */
function installed(name: string, from: string): string | undefined {
  for (let at = realpathSync(from); ; at = dirname(at)) {
    const folder = join(at, 'node_modules', name);
    if (existsSync(join(folder, 'package.json'))) return realpathSync(folder);
    if (dirname(at) === at) return undefined;
  }
}

function readManifest(folder: string): Manifest {
  const path = join(folder, 'package.json');
  try {
    return JSON.parse(readFileSync(path, 'utf8')) as Manifest;
  } catch (cause) {
    throw new TraplineError('TL_PLUGIN', 'cannot be read as JSON', { who: path, fix: 'correct the file', cause });
  }
}
