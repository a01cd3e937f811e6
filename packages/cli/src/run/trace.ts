// `--trace com1,write` and what it prints.
import { hex, type Space, type TraceFilter, type TraceRecord, TraplineError } from '@trapline/core';

const SPACES: readonly string[] = ['pio', 'mmio'];
const DIRECTIONS: readonly string[] = ['read', 'write'];

/**
 * Reads a trace filter: `all`, or words joined by commas that must all hold: a device id, `pio` or
 * `mmio`, `read` or `write`, an address or a range of them.
 * @param devices the ids of the machine
 * @throws TraplineError `TL_USAGE`
 */
export function parseTrace(text: string, devices: readonly string[]): TraceFilter {
  const filter: { -readonly [K in keyof TraceFilter]: TraceFilter[K] } = {};
  for (const word of text.split(',')) {
    const addresses = /^(0x[0-9a-f]+|\d+)(?:-(0x[0-9a-f]+|\d+))?$/i.exec(word);
    if (devices.includes(word)) filter.device = word;
    else if (SPACES.includes(word)) filter.space = word as Space;
    else if (DIRECTIONS.includes(word)) filter.direction = word as 'read' | 'write';
    else if (addresses) filter.addresses = [Number(addresses[1]), Number(addresses[2] ?? addresses[1])];
    else if (word !== 'all') {
      const fix = `use words joined by commas: a device (${devices.join(', ')}), pio, mmio, read, write, an address like 0x3f8-0x3ff, all`;
      throw new TraplineError('TL_USAGE', `cannot trace ${word}`, { who: 'trapline run', fix });
    }
  }
  return filter;
}

/** One traced access, in one line. */
export function traceLine(record: TraceRecord): string {
  const { vcpu, client, region, space, direction, address, size, value, valueHigh, lines } = record;
  const digits = (part: number) => part.toString(16).padStart(Math.min(size, 4) * 2, '0');
  const shown = `0x${size === 8 ? digits(valueHigh) : ''}${digits(value)}`;
  const levels = Object.entries(lines).map(([name, level]) => ` ${name || 'irq'}=${level ? 1 : 0}`);
  const who = region ? `${client}.${region}` : client;
  return `trace cpu${vcpu} ${who} ${space} ${direction} ${hex(address)} ${size} ${shown}${levels.join('')}`;
}
