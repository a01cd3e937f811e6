import { existsSync, readdirSync } from 'node:fs';
import { join, relative } from 'node:path';
import { TraplineError } from '@trapline/core';
import { parse } from '../arguments.js';
import { nameDevice, writeDevicePackage } from '../new-device.js';
import { answer } from '../print.js';
import { COMMON, type Command } from './command.js';

const SPEC = {
  name: 'new',
  summary: 'write a package with a device, its test and a machine',
  operands: ['device', 'NAME'],
  options: {
    dir: { type: 'text', value: 'DIR', help: 'the folder to write; default: one named like the device, here' },
    debug: COMMON.debug,
  },
  examples: ['trapline new device acme-timer', 'trapline new device @acme/timer --dir packages/timer'],
} as const;

/** `trapline new device` */
export const newDevice: Command = {
  spec: SPEC,
  async run(args: readonly string[]): Promise<number> {
    const { values, operands } = parse(SPEC, args);
    const [kind, name] = operands as readonly [string, string];
    const who = 'trapline new';
    if (kind !== 'device') {
      const fix = 'write: trapline new device NAME';
      throw new TraplineError('TL_USAGE', `does not know how to write a ${kind}`, { who, fix });
    }
    const names = nameDevice(name);
    const folder = values.dir ?? names.device;
    if (existsSync(folder) && readdirSync(folder).length > 0) {
      const fix = 'choose another folder with --dir, or remove it';
      throw new TraplineError('TL_USAGE', `${folder} exists and is not empty`, { who, fix });
    }
    const files = writeDevicePackage(names, folder);
    const shown = relative('.', folder) || '.';
    answer(
      [
        `wrote ${files.length} files:`,
        ...files.map((file) => `  ${join(shown, file)}`),
        '',
        'next:',
        ...(shown === '.' ? [] : [`  cd ${shown}`]),
        '  npm install',
        '  npm test         the device, with no VM at all',
        '  npm run check    its machine, opening nothing',
        '  npm start        runs it',
        '',
      ].join('\n'),
    );
    return 0;
  },
};
