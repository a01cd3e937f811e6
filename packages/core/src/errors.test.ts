import { describe, expect, it } from 'vitest';
import { CompositionError, ERROR_CODES, formatError, hex, messageOf, TraplineError, textOf } from './errors.js';

describe('an error', () => {
  it('has a code, who is to blame, what happened and what to do', () => {
    const cause = new Error('EACCES');
    const error = new TraplineError('TL_HOST_RESOURCE', 'cannot be opened', {
      who: 'com1',
      cause,
      details: { path: 'x' },
    });
    expect(error).toMatchObject({
      name: 'TraplineError',
      message: 'com1: cannot be opened',
      cause,
      details: { path: 'x' },
    });
    expect(formatError(error)).toBe(
      'error[TL_HOST_RESOURCE] com1: cannot be opened\nfix: see the cause: path, permission or peer',
    );
    expect(formatError(new TraplineError('TL_USAGE', 'no', { fix: 'do' }))).toBe('error[TL_USAGE] no\nfix: do');
  });

  it('of a composition holds every problem', () => {
    const problems = [new TraplineError('TL_IRQ', 'one', { who: 'a' }), new TraplineError('TL_RANGE', 'two')];
    const error = new CompositionError(problems);
    expect(error.message).toMatch(/^2 problems in the machine\n {2}error\[TL_IRQ\] a: one\n {2}fix: /);
    expect([error.code, error.problems.length]).toEqual(['TL_COMPOSITION', 2]);
    expect(new CompositionError(problems.slice(0, 1)).message).toMatch(/^1 problem in/);
  });

  it('of every code says what it means and what to do', () => {
    for (const [code, [what, fix]] of Object.entries(ERROR_CODES)) {
      expect(code).toMatch(/^TL_[A-Z0-9_]+$/);
      expect([what.length > 10, fix.length > 5]).toEqual([true, true]);
    }
  });
});

describe('text for anything', () => {
  it.each<[unknown, string]>([
    [new Error('one\ntwo'), 'one'],
    [new TypeError(), 'TypeError'],
    ['text', 'text'],
    [undefined, 'undefined'],
    [Symbol('s'), 'Symbol(s)'],
    [Object.create(null), 'something that has no text'],
    [Object.assign(new Error(), { message: 42 }), '42'],
    [{ toString: 1, valueOf: 1 }, 'something that has no text'],
  ])('never throws: case %#', (thrown, expected) => {
    expect(messageOf(thrown)).toBe(expected);
  });

  it('has addresses in base 16', () => {
    expect([hex(0x3f8), hex(2 ** 40)]).toEqual(['0x3f8', '0x10000000000']);
    expect(textOf(5n)).toBe('5');
  });
});
