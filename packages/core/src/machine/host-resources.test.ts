import { describe, expect, it } from 'vitest';
import { z } from 'zod';
import { Disk, diskAt, gate, resources } from '../../test/cards.js';
import { settle } from '../../test/machine.js';
import { pio } from '../device/attachment.js';
import { Device } from '../device/decorators.js';
import { resourceOption } from '../device/host-resource.js';
import { defineMachine, use } from './define.js';
import { start } from './start.js';

describe('host resources of a device that comes and goes', () => {
  const running = (
    devices: Record<string, ReturnType<typeof diskAt>> = {},
    onLog: (message: string) => void = () => {},
  ) => start(defineMachine({ memory: '64K', devices }), { backend: 'sim-js', log: ({ message }) => onLog(message) });

  it('are opened for it and closed after it, in reverse', async () => {
    const { done, make } = resources();
    const vm = await running();
    const attached = await vm.attach('disk', use(Disk, { disk: make('a'), more: make('b') }));
    expect([attached.options, done]).toEqual([{ disk: 'a', more: 'b' }, ['open a', 'open b']]);
    await vm.detach('disk');
    expect(done.slice(2)).toEqual(['close b', 'close a']);
    await vm.close();
    expect(done).toHaveLength(4);
  });

  it('are shared with who uses them already, and closed with the last of them', async () => {
    const { done, make } = resources();
    const [a, b] = [make('a'), make('b')];
    const vm = await running({ one: diskAt(1, a) });
    await vm.attach('two', use(Disk, { at: pio(2), disk: a, more: b }));
    await vm.attach('three', diskAt(3, b));
    await vm.detach('one');
    expect(done).toEqual(['open a', 'open b']);
    await vm.detach('two');
    expect(done.slice(2)).toEqual(['close a']);
    await vm.attach('one', diskAt(1, a));
    await vm.close();
    expect(done.slice(3)).toEqual(['open a', 'close a', 'close b']);
  });

  it('are closed again in reverse when the next cannot be opened, but for those others use', async () => {
    const { done, make } = resources();
    const shared = make('shared');
    const vm = await running({ one: diskAt(1, shared) });
    const broken = make('broken', () => Promise.reject(new Error('EACCES')));
    @Device({
      type: 'raid',
      summary: '',
      options: z.object({
        a: resourceOption('disk'),
        b: resourceOption('disk'),
        c: resourceOption('disk'),
        d: resourceOption('disk'),
      }),
    })
    class Raid {}
    await expect(
      vm.attach('raid', use(Raid, { a: shared, b: make('b'), c: make('c'), d: broken } as object)),
    ).rejects.toMatchObject({ code: 'TL_HOST_RESOURCE', message: 'raid: d: broken cannot be opened: EACCES' });
    expect(done).toEqual(['open shared', 'open b', 'open c', 'open broken', 'close c', 'close b']);
    expect(Object.keys(vm.devices)).toEqual(['one']);
    await vm.close();
  });

  it('are opened once for two that come at the same time', async () => {
    const { done, make } = resources();
    const vm = await running();
    const opening = gate<string>();
    const a = make('a', () => opening.passed);
    const both = Promise.all([vm.attach('one', diskAt(1, a)), vm.attach('two', diskAt(2, a))]);
    await settle();
    opening.open('a');
    await both;
    await vm.detach('one');
    expect(done).toEqual(['open a']);
    await vm.detach('two');
    expect(done).toEqual(['open a', 'close a']);
    await vm.close();
  });

  it('are tried again for the second of two when the first was given up', async () => {
    const { done, make } = resources();
    const vm = await running();
    const stop = new AbortController();
    const a = make('a', (signal) =>
      done.length > 1
        ? 'a'
        : new Promise((_, reject) => signal.addEventListener('abort', () => reject(new Error('given up')))),
    );
    const one = vm.attach('one', diskAt(1, a), { signal: stop.signal });
    const two = vm.attach('two', diskAt(2, a));
    await settle();
    stop.abort();
    await expect(one).rejects.toMatchObject({ code: 'TL_HOST_RESOURCE', what: 'disk: a cannot be opened: given up' });
    expect((await two).options.disk).toBe('a');
    expect(Object.keys(vm.devices)).toEqual(['two']);
    await vm.close();
    expect(done).toEqual(['open a', 'open a', 'close a']);
  });

  it('are opened again only when they are closed', async () => {
    const { done, make } = resources();
    const closing = gate();
    const a = make('a', undefined, () => closing.passed);
    const vm = await running({ one: diskAt(1, a) });
    const detached = vm.detach('one');
    const attached = vm.attach('one', diskAt(1, a));
    await settle();
    expect(done).toEqual(['open a', 'close a']);
    closing.open();
    await Promise.all([detached, attached]);
    expect(done).toEqual(['open a', 'close a', 'open a']);
    await vm.close();
  });

  it('stay with who comes in the very moment their last user goes', async () => {
    const { done, make } = resources();
    const a = make('a');
    const vm = await running({ one: diskAt(1, a) });
    const attached = gate<Promise<Disk>>();
    vm.once('device:detached', () => attached.open(vm.attach('one', diskAt(1, a))));
    await vm.detach('one');
    expect((await await attached.passed).options.disk).toBe('a');
    expect(done).toEqual(['open a']);
    await vm.close();
    expect(done).toEqual(['open a', 'close a']);
  });

  it('that cannot be closed are logged, and the others closed', async () => {
    const { done, make } = resources();
    const log: string[] = [];
    const vm = await running({}, (message) => log.push(message));
    const stuck = make('stuck', undefined, () => Promise.reject(new Error('EIO')));
    await vm.attach('disk', use(Disk, { disk: make('a'), more: stuck }));
    await vm.detach('disk');
    expect([done.slice(2), log]).toEqual([['close stuck', 'close a'], ['while closing: EIO']]);
    await vm.close();
  });

  it('that are being opened when the machine closes are given up, and closed if they come all the same', async () => {
    for (const obeys of [true, false]) {
      const { done, make } = resources();
      const vm = await running();
      const opening = gate<string>();
      const a = make('a', (signal) =>
        Promise.race([
          opening.passed,
          new Promise<string>((_, reject) => {
            if (obeys) signal.addEventListener('abort', () => reject(new Error('given up')));
          }),
        ]),
      );
      const lost = expect(vm.attach('disk', diskAt(1, a))).rejects.toMatchObject({ code: 'TL_VM_CLOSED' });
      await settle();
      const closed = vm.close().then(() => done.push('closed'));
      await settle();
      if (!obeys) expect(done).toEqual(['open a']);
      opening.open('a');
      await Promise.all([lost, closed]);
      expect(done).toEqual(obeys ? ['open a', 'closed'] : ['open a', 'close a', 'closed']);
    }
  });

  it('are each closed once when the machine closes while a device leaves', async () => {
    const { done, make } = resources();
    const closing = gate();
    const a = make('a', undefined, () => closing.passed);
    const vm = await running({ one: diskAt(1, a), two: diskAt(2, make('b')) });
    const detached = vm.detach('one');
    const closed = vm.close().then(() => done.push('closed'));
    await settle();
    expect(done).toEqual(['open a', 'open b', 'close a', 'close b']);
    closing.open();
    await Promise.all([detached, closed]);
    expect(done.slice(4)).toEqual(['closed']);
  });
});
