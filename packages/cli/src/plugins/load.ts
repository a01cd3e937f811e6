// Imports plugins and refuses those that cannot live together.
import { existsSync, realpathSync } from 'node:fs';
import { resolve } from 'node:path';
import { type DeviceClass, deviceMetadata, isPlugin, PLUGIN_API, TraplineError } from '@trapline/core';
import type { Host } from '../commands/command.js';
import { importModule } from '../machine-file.js';
import { OWN_FOLDER } from '../own-manifest.js';
import { nearestPackage, type PluginFile, packagePlugin, projectPlugins } from './manifest.js';

/** A device type and where it comes from. */
export interface KnownDevice {
  readonly type: string;
  readonly device: DeviceClass;
  /** Name of the package, as its plugin says. */
  readonly packageName: string;
  /** The plugin's file. */
  readonly path: string;
}

/** Which plugins are wanted. */
export interface PluginRequest {
  /** Where the nearest package.json is looked for: the machine file's folder, or where the user is. */
  readonly folder: string;
  /** What `--plugin` named: files, or packages found from `folder`. */
  readonly named: readonly string[];
  /** Also the device packages that come with the command. */
  readonly builtIn: boolean;
}

/** What was found. */
export interface LoadedPlugins {
  readonly devices: ReadonlyMap<string, KnownDevice>;
  /** What is wrong with plugins that only a package.json names: they are left out, the rest is not their fault. */
  readonly problems: readonly TraplineError[];
}

/**
 * Loads plugins.
 * @throws TraplineError `TL_PLUGIN`, `TL_PLUGIN_VERSION`, or `TL_DUPLICATE_TYPE` with both paths, for one
 * that was named
 */
export async function loadPlugins(request: PluginRequest, host: Host): Promise<LoadedPlugins> {
  const devices = new Map<string, KnownDevice>();
  const problems: TraplineError[] = [];
  const { named, found } = pluginFiles(request);
  for (const file of named) add(await loadPlugin(file, host), devices);
  for (const file of found) {
    try {
      add(await loadPlugin(file, host), devices);
    } catch (thrown) {
      if (!(thrown instanceof TraplineError)) throw thrown;
      problems.push(thrown);
    }
  }
  return { devices, problems };
}

/** All of a plugin's devices, or none of them. */
function add(devices: readonly KnownDevice[], known: Map<string, KnownDevice>): void {
  for (const { type, device, path } of devices) {
    const other = known.get(type);
    if (!other || other.device === device) continue;
    const what = `device type declared by ${other.path} and by ${path}`;
    throw new TraplineError('TL_DUPLICATE_TYPE', what, { who: type });
  }
  for (const device of devices) known.set(device.type, device);
}

/** Each file once; where two copies of a package are found, the project's own is meant, not ours. */
function pluginFiles({ folder, named, builtIn }: PluginRequest): Record<'named' | 'found', PluginFile[]> {
  const project = nearestPackage(folder);
  const first = unique(named.map((name) => namedPlugin(name, folder)));
  const second = project === undefined ? [] : projectPlugins(project);
  const present = new Set([...first, ...second].map(({ packageName }) => packageName));
  if (builtIn) second.push(...projectPlugins(OWN_FOLDER).filter(({ packageName }) => !present.has(packageName)));
  const paths = new Set(first.map(({ path }) => path));
  return { named: first, found: unique(second).filter(({ path }) => !paths.has(path)) };
}

function unique(files: readonly PluginFile[]): PluginFile[] {
  return [...new Map(files.map((file) => [file.path, file])).values()];
}

function namedPlugin(name: string, folder: string): PluginFile {
  const path = resolve(name);
  if (existsSync(path)) return { path: realpathSync(path), packageName: undefined };
  if (/^(\.{1,2}\/|\/)|\.[mc]?[jt]s$/.test(name)) {
    throw new TraplineError('TL_PLUGIN', 'there is no such file', { who: name, fix: 'check the path' });
  }
  return packagePlugin(name, folder);
}

async function loadPlugin({ path, packageName }: PluginFile, host: Host): Promise<KnownDevice[]> {
  if (!existsSync(path)) {
    const fix = 'build the package, or correct "trapline": { "plugin": ... } in its package.json';
    throw new TraplineError('TL_PLUGIN', `${path} does not exist`, { who: packageName ?? path, fix });
  }
  const { plugin } = await importModule(path, path, 'TL_PLUGIN', host);
  if (!isPlugin(plugin)) {
    const what = plugin === undefined ? 'it has no export named plugin' : 'its export plugin is no plugin';
    throw new TraplineError('TL_PLUGIN', what, { who: path });
  }
  if (plugin.api !== PLUGIN_API) {
    const what = `${plugin.name} was made for plugin API ${plugin.api}, this Trapline has ${PLUGIN_API}`;
    const fix = plugin.api > PLUGIN_API ? 'update trapline' : `update ${plugin.name}`;
    throw new TraplineError('TL_PLUGIN_VERSION', what, { who: path, fix });
  }
  return plugin.devices.map((device) => {
    const type = deviceMetadata(device)?.type ?? device.name;
    return { type, device, packageName: plugin.name, path };
  });
}
