// Writes a package from the template: real files of a real device, whose names are replaced.
import { mkdirSync, readdirSync, readFileSync, writeFileSync } from 'node:fs';
import { dirname, join } from 'node:path';
import { TraplineError } from '@trapline/core';
import { OWN_FOLDER, ownManifest } from './own-manifest.js';

/** The names of one device in all the ways they are written. */
export interface DeviceNames {
  /** `@acme/fast-timer`, or the device's name. */
  readonly package: string;
  /** `fast-timer`: the device type, and its file. */
  readonly device: string;
  /** `FastTimer` */
  readonly className: string;
  /** `FAST_TIMER` */
  readonly constant: string;
}

/** Names whose file or class the template uses for something else. */
const TAKEN = ['clock', 'device', 'irq-line', 'mmio', 'options', 'plugin', 'spec'];

/** Checks a name and makes the others from it. @throws TraplineError `TL_USAGE` */
export function nameDevice(name: string): DeviceNames {
  const refuse = (what: string, fix: string) => new TraplineError('TL_USAGE', what, { who: 'trapline new', fix });
  const match = /^(?:@[a-z0-9][a-z0-9._-]*\/)?([a-z][a-z0-9]*(?:-[a-z0-9]+)*)$/.exec(name);
  if (!match || name.length > 100) {
    throw refuse(
      `${name} is no name for a device`,
      'use small letters, digits and single hyphens: acme-timer, @acme/timer',
    );
  }
  const device = match[1] as string;
  if (TAKEN.includes(device)) throw refuse(`${device} has another meaning in the package`, 'choose a name of your own');
  const words = device.split('-');
  return {
    package: name,
    device,
    className: words.map((word) => `${word[0]?.toUpperCase()}${word.slice(1)}`).join(''),
    constant: words.join('_').toUpperCase(),
  };
}

/** Writes the package. @returns the files, relative to the folder */
export function writeDevicePackage(names: DeviceNames, folder: string): string[] {
  const template = join(OWN_FOLDER, 'template', 'device');
  const replace = (text: string) =>
    text
      .replaceAll('PACKAGE_NAME', names.package)
      .replaceAll('TRAPLINE_VERSION', ownManifest().version)
      .replaceAll('device-name', names.device)
      .replaceAll('DeviceName', names.className)
      .replaceAll('DEVICE_NAME', names.constant);
  const sources = readdirSync(template, { recursive: true, withFileTypes: true })
    .filter((entry) => entry.isFile())
    .map((entry) => join(entry.parentPath ?? entry.path, entry.name).slice(template.length + 1));
  return sources.sort().map((source) => {
    const file = replace(packed(source));
    const path = join(folder, file);
    mkdirSync(dirname(path), { recursive: true });
    writeFileSync(path, replace(readFileSync(join(template, source), 'utf8')));
    return file;
  });
}

/** Some names mean something to npm where they stand; the template has others in their place. */
function packed(source: string): string {
  return source
    .replace('package.template.json', 'package.json')
    .replace('gitignore.txt', '.gitignore')
    .replace('_test.ts', '.test.ts');
}
