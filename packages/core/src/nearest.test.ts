import { describe, expect, it } from 'vitest';
import { nearest } from './nearest.js';

describe('nearest', () => {
  it.each([
    ['runn', 'run'],
    ['chekc', 'check'],
    ['dev', 'devices'],
    ['deices', 'devices'],
    ['r', undefined],
    ['completely-different', undefined],
  ])('%s -> %s', (typed, meant) => {
    expect(nearest(typed, ['run', 'check', 'map', 'devices', 'new'])).toBe(meant);
  });
});
