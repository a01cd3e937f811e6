import { PassThrough } from 'node:stream';
import { afterEach, expect, it } from 'vitest';
import { configureStdio, stdio } from './stdio.js';

afterEach(() => configureStdio({}));

it('gives every stdio() opened later what it does not say itself', async () => {
  const resource = stdio();
  const own = stdio({ input: 'own' });
  configureStdio({ input: 'typed' });
  for (const [console, text] of [
    [resource, 'typed\x04'],
    [own, 'own\x04'],
  ] as const) {
    const opened = await console.open(new AbortController().signal);
    expect(String(opened.read())).toBe(text);
    await console.close(opened);
  }
});

it('is told of Ctrl-A x beside the console itself', async () => {
  const told: string[] = [];
  const stdin = Object.assign(new PassThrough(), { isTTY: true, setRawMode: () => {} });
  configureStdio({ onLeave: () => told.push('process'), stdin });
  const resource = stdio({ onLeave: () => told.push('console') });
  const opened = await resource.open(new AbortController().signal);
  stdin.write('\x01x');
  await new Promise((resolve) => setImmediate(resolve));
  expect(told).toEqual(['console', 'process']);
  await resource.close(opened);
});
