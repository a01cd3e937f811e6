import { accessSync, constants, existsSync, statSync } from 'node:fs';
import { delimiter, dirname, join } from 'node:path';
import { ROOT } from './paths.mjs';

/**
 * What a skipped test may be waiting for. A skip is allowed only while its condition holds:
 * a list that says "no /dev/kvm" must not hide a skip on a machine that has it.
 * @type {Record<string, (argument: string) => boolean>}
 */
const CONDITIONS = {
  'not-linux': () => platform() !== 'linux',
  'no-kvm': () => !canOpen('/dev/kvm'),
  'no-acrn': () => !canOpen('/dev/acrn_hsm'),
  'no-native': () => platform() !== 'linux' || !existsSync(join(ROOT, 'packages/native/build/trapline_native.node')),
  'no-command': (name) => !onPath(name),
  'no-file': (path) => !existsSync(path.startsWith('/') ? path : join(ROOT, path)),
  'no-env': (name) => !process.env[name],
  'not-x64': () => process.arch !== 'x64',
  'not-root': () => process.getuid?.() !== 0,
  'private-folder': () => ancestors(ROOT).some((folder) => (statSync(folder).mode & 0o001) === 0),
  // For what no machine of ours has, such as another architecture.
  always: () => true,
};

/**
 * @param {string} when such as `no-kvm` or `no-command:tmux`; several with ` or ` between them
 * @returns {boolean}
 */
export function holds(when) {
  return when.split(' or ').some((term) => {
    const [name = '', ...rest] = term.trim().split(':');
    const test = CONDITIONS[name];
    if (test === undefined)
      throw new Error(`unknown condition "${term}"; known: ${Object.keys(CONDITIONS).join(', ')}`);
    return test(rest.join(':'));
  });
}

/**
 * A folder and all above it.
 * @param {string} folder
 * @returns {string[]}
 */
function ancestors(folder) {
  const parent = dirname(folder);
  return parent === folder ? [folder] : [folder, ...ancestors(parent)];
}

/** The platform as the product sees it. */
function platform() {
  return process.env.TRAPLINE_PLATFORM || process.platform;
}

/** @param {string} device */
function canOpen(device) {
  if (platform() !== 'linux') return false;
  try {
    accessSync(device, constants.R_OK | constants.W_OK);
    return true;
  } catch {
    return false;
  }
}

/** @param {string} name */
function onPath(name) {
  return (process.env.PATH ?? '').split(delimiter).some((folder) => {
    try {
      return statSync(join(folder, name)).isFile();
    } catch {
      return false;
    }
  });
}
