import { mkdtempSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { formatError, TraplineError } from '@trapline/core';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { file } from '../index.js';
import { openError } from './open-error.js';

let folder: string;
beforeAll(() => {
  folder = mkdtempSync(join(tmpdir(), 'trapline-file-'));
});
afterAll(() => rmSync(folder, { recursive: true }));

const signal = new AbortController().signal;

describe('file', () => {
  it('takes output and gives no input', async () => {
    const path = join(folder, 'log');
    writeFileSync(path, 'old');
    const resource = file(path);
    const stream = await resource.open(signal);
    let ended = false;
    stream.on('end', () => {
      ended = true;
    });
    stream.on('data', () => expect.unreachable());
    for (let i = 0; i < 1000; i++) stream.write(`${i}\n`);
    await resource.close(stream);
    expect(ended).toBe(true);
    expect(readFileSync(path, 'utf8')).toBe(Array.from({ length: 1000 }, (_, i) => `${i}\n`).join(''));
  });

  it('writes behind what is there with append', async () => {
    const path = join(folder, 'append');
    writeFileSync(path, 'old ');
    const resource = file(path, { append: true });
    const stream = await resource.open(signal);
    stream.write('new');
    await resource.close(stream);
    expect(readFileSync(path, 'utf8')).toBe('old new');
  });

  it('opens nothing before it is opened', () => {
    expect(file('/nowhere/at/all').description).toBe('file(/nowhere/at/all)');
  });

  it('says in one line what is wrong, and what helps', () => {
    const problem = (path: string) => {
      try {
        return String(file(path).open(signal));
      } catch (thrown) {
        return thrown instanceof TraplineError ? formatError(thrown) : String(thrown);
      }
    };
    expect(problem(join(folder, 'no', 'where'))).toMatch(
      /^error\[TL_HOST_RESOURCE\] file\(.*\): cannot be opened: there is no such file or directory\nfix: make the dir.*$/,
    );
    expect(problem(folder)).toContain('it is a directory\nfix: name a file in it');
  });

  it('knows the usual causes', () => {
    const text = (code: string) => formatError(openError('file(x)', Object.assign(new Error('raw text'), { code })));
    expect(text('EACCES')).toContain('permission denied\nfix: give this user');
    expect(text('EADDRINUSE')).toContain('it is in use\nfix: stop the process');
    expect(text('EWHATEVER')).toContain('raw text\nfix: ');
  });
});
