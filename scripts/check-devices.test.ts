import { fileURLToPath } from 'node:url';
import { describe, expect, it } from 'vitest';
import { checkTree } from './check-devices.mjs';

const { files, problems } = checkTree(fileURLToPath(new URL('fixtures/check-devices', import.meta.url)));
const told = (file: string) =>
  problems.filter((problem) => problem.file.endsWith(file)).map(({ line, text }) => `${line}: ${text.split(':')[0]}`);

describe('check-devices', () => {
  it('finds every switch on an offset, whatever it is called', () => {
    expect(told('switches.ts')).toEqual([
      '5: switch on "at"',
      '12: switch on "offset"',
      '16: switch on "index"',
      '19: switch on "offset"',
      '25: switch on "request.offset"',
      '28: switch on "regAddr"',
    ]);
  });

  it('finds imports of anything but public entries of core', () => {
    expect(told('imports.ts')).toEqual([
      '1: imports "@trapline/core/dist/ioreq/page.js"',
      '2: imports "@trapline/core/src/index.js"',
      '3: imports "@trapline/native"',
      '4: imports "trapline"',
      '5: imports "../../core/src/index.js"',
      '7: imports "@trapline/backend-v86"',
      '8: imports "@trapline/core/internal"',
    ]);
  });

  it('lets core depend on nothing here', () => {
    expect(told('reaches-out.ts')).toEqual(['1: imports "@trapline/native"']);
  });

  it('lets examples use any package, by its public entries', () => {
    expect(told('examples/bad/machine.ts')).toEqual([
      '1: imports "@trapline/core/src/machine.js"',
      '5: switch on "port"',
    ]);
  });

  it('leaves a switch on a value alone', () => {
    expect(told('good.ts')).toEqual([]);
    expect(files).toBe(6);
  });
});
