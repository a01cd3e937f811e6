import { readFileSync, writeFileSync } from 'node:fs';
import { ERROR_CODES } from '@trapline/core';
import { expect, it } from 'vitest';

const FILE = new URL('../../docs/errors.md', import.meta.url);

function render(): string {
  const rows = Object.entries(ERROR_CODES).map(([code, [what, fix]]) => `| \`${code}\` | ${what} | ${fix} |`);
  return [
    '# Errors',
    '',
    'Every error Trapline raises on purpose is a `TraplineError` with one of these codes, the values in',
    '`details`, and what to do in `fix`. The command prints `error[CODE] who: what` and `fix: ...`; with',
    '`--debug` the stack too. A machine with several mistakes gives one `CompositionError` (`TL_COMPOSITION`)',
    'whose `problems` has all of them.',
    '',
    'This page is generated from the table of codes: `npm run docs`.',
    '',
    '| code | what happened | what to do |',
    '|---|---|---|',
    ...rows,
    '',
  ].join('\n');
}

it('docs/errors.md lists every code', () => {
  if (process.env.TRAPLINE_WRITE_DOCS) writeFileSync(FILE, render());
  expect(readFileSync(FILE, 'utf8')).toBe(render());
});
