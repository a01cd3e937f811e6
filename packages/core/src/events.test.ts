import { describe, expect, it } from 'vitest';
import { SafeEmitter } from './events.js';

interface Events {
  ping: [value: number];
  pong: [];
}
function emitter() {
  const errors: string[] = [];
  return { events: new SafeEmitter<Events>((event, thrown) => errors.push(`${event}: ${thrown}`)), errors };
}

describe('the event emitter', () => {
  it('calls every listener with the arguments of its event', () => {
    const { events } = emitter();
    const seen: number[] = [];
    events.on('ping', (value) => seen.push(value)).once('ping', (value) => seen.push(-value));
    events.emit('ping', 1);
    events.emit('ping', 2);
    events.emit('pong');
    expect(seen).toEqual([1, -1, 2]);
  });

  it('reports a listener that throws or rejects, and still calls the others', async () => {
    const { events, errors } = emitter();
    let calls = 0;
    events.on('ping', () => {
      throw 'sync';
    });
    events.on('ping', async () => {
      throw 'async';
    });
    events.on('ping', () => void calls++);
    events.emit('ping', 1);
    await Promise.resolve();
    expect([calls, errors]).toEqual([1, ['ping: sync', 'ping: async']]);
  });

  it('forgets a listener by the function that was given, per event', () => {
    const { events } = emitter();
    let calls = 0;
    const count = () => void calls++;
    events.on('ping', count).on('pong', count);
    events.off('ping', count);
    events.emit('ping', 1);
    events.emit('pong');
    expect([calls, events.listenerCount('ping'), events.listenerCount('pong')]).toEqual([1, 0, 1]);
    events.removeAll();
    events.emit('pong');
    expect(calls).toBe(1);
  });
});
