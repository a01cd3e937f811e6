import { describe, expect, it } from 'vitest';
import { boot } from '../../test/machine.js';
import { Device, Pio } from '../device/decorators.js';
import { Inbox } from '../device/tokens.js';
import { use } from './define.js';
import { EventQueue, type OutsideEvent } from './inbox.js';

const direct = (_what: string, run: () => void) => run();
function running() {
  const seen: unknown[] = [];
  const queue = new EventQueue(() => 42);
  const post = queue.inbox('dev', direct).port<unknown>('rx', (payload) => seen.push(payload));
  queue.resume();
  return { queue, post, seen };
}

describe('the event queue', () => {
  it('delivers in order, at once when nothing is being served', () => {
    const { post, seen, queue } = running();
    post(1);
    post(2);
    expect([seen, queue.delivered, queue.waiting]).toEqual([[1, 2], 2, 0]);
  });

  it('waits until the outermost access is over', () => {
    const { queue, post, seen } = running();
    queue.enter();
    queue.enter();
    post(1);
    queue.leave();
    expect([seen, queue.waiting]).toEqual([[], 1]);
    queue.leave();
    expect(seen).toEqual([1]);
  });

  it('does not deliver inside a delivery, but right after it', () => {
    const queue = new EventQueue(() => 0);
    const seen: string[] = [];
    const post: (n: number) => void = queue.inbox('dev', direct).port('rx', (n: number) => {
      seen.push(`<${n}`);
      if (n < 3) {
        post(n + 1);
        queue.enter();
        queue.leave();
      }
      seen.push(`${n}>`);
    });
    queue.resume();
    post(1);
    expect(seen).toEqual(['<1', '1>', '<2', '2>', '<3', '3>']);
  });

  it('holds events while paused and stops between two when it is paused by one', () => {
    const queue = new EventQueue(() => 0);
    const seen: number[] = [];
    const post = queue.inbox('dev', direct).port('rx', (n: number) => {
      seen.push(n);
      if (n === 1) queue.pause();
    });
    post(1);
    post(2);
    expect(seen).toEqual([]);
    queue.resume();
    expect([seen, queue.waiting]).toEqual([[1], 1]);
    queue.resume();
    expect(seen).toEqual([1, 2]);
  });

  it('survives a pause and a resume inside a delivery', () => {
    const queue = new EventQueue(() => 0);
    const seen: number[] = [];
    const post = queue.inbox('dev', direct).port('rx', (n: number) => {
      queue.pause();
      queue.resume();
      seen.push(n);
    });
    queue.resume();
    queue.enter();
    post(1);
    post(2);
    queue.leave();
    expect(seen).toEqual([1, 2]);
  });

  it('records every event with its time, and replays it in place of live ones', () => {
    const { queue, post, seen } = running();
    const recorded: OutsideEvent[] = [];
    const stop = queue.record((event) => recorded.push(event));
    post('a');
    stop();
    post('b');
    expect(recorded).toEqual([{ at: 42, device: 'dev', port: 'rx', payload: 'a' }]);
    queue.replaying = true;
    post('ignored');
    queue.post(recorded[0] as OutsideEvent);
    expect(seen).toEqual(['a', 'b', 'a']);
  });

  it('is not disturbed by a recorder that throws', () => {
    const { queue, post, seen } = running();
    queue.record(() => {
      throw new Error('disk full');
    });
    post(1);
    expect(seen).toEqual([1]);
  });

  it('refuses a port that is opened twice', () => {
    const { queue } = running();
    expect(() => queue.inbox('dev', direct).port('rx', () => {})).toThrow(/opens the inbox port rx twice/);
  });

  it('drops what waits and what comes for a device that left, also when another has its id', () => {
    const { queue } = running();
    const seen: string[] = [];
    const [old, next] = [queue.inbox('com1', direct), queue.inbox('com1', direct)];
    const post = old.port('rx', (payload) => seen.push(`old ${payload}`));
    const other = queue.inbox('com2', direct).port('rx', (payload) => seen.push(`other ${payload}`));
    queue.pause();
    post('a');
    other('b');
    old.end();
    post('c');
    old.port('rx', () => seen.push('a port of one that left'))('d');
    expect(queue.waiting).toBe(1);
    const postNext = next.port('rx', (payload) => seen.push(`next ${payload}`));
    post('e');
    old.end();
    postNext('f');
    queue.resume();
    expect([seen, queue.waiting]).toEqual([['other b', 'next f'], 0]);
  });
});

@Device({ type: 'mailbox', summary: 'gets what the host posts' })
@Pio({ base: 0x10, size: 1 })
class Mailbox {
  readonly log: string[] = [];
  readonly post: (payload: string) => void;
  constructor(inbox: Inbox) {
    this.post = inbox.port('mail', (payload: string) => {
      this.log.push(payload);
      if (payload === 'bomb') throw new Error('boom');
    });
  }
  read() {
    this.post('during');
    this.log.push('read');
    return 1;
  }
  write() {}
}

describe('outside events of a machine', () => {
  it('never come during a handler', () => {
    const { vm, inb } = boot({ box: use(Mailbox) });
    inb(0x10);
    expect(vm.devices.box.log).toEqual(['read', 'during']);
  });

  it('wait while it is paused', async () => {
    const { vm } = boot({ box: use(Mailbox) });
    await vm.pause();
    vm.devices.box.post('late');
    expect(vm.devices.box.log).toEqual([]);
    vm.resume();
    expect(vm.devices.box.log).toEqual(['late']);
  });

  it('cost the device its life when it throws, and nothing else', () => {
    const { vm, failures } = boot({ box: use(Mailbox) });
    vm.devices.box.post('bomb');
    vm.devices.box.post('after');
    expect(failures.map(({ code, who }) => [code, who])).toEqual([['TL_DEVICE_HOOK', 'box']]);
    expect(vm.devices.box.log).toEqual(['bomb']);
    expect(vm.state).toBe('running');
  });
});
