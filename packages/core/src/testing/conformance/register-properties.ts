// Properties of registers, from what their layout says about them.
import { maskOf } from '../../device/layout.js';
import type { MapRegister } from './device-map.js';
import type { Kit } from './kit.js';
import type { Property, Violation } from './property.js';
import type { Case, Op, PartsStep, ReadStep, Step, WriteStep } from './steps.js';
import type { Subject } from './subject.js';
import { casesOf, disagreement } from './twin-properties.js';
import { hexOf, Twins } from './twins.js';

type Which = (register: MapRegister) => boolean;

function pickRegister(kit: Kit, pick: Which, c: Case): MapRegister {
  const all = kit.map.registers.filter(pick);
  return all[(c.numbers[0] as number) % all.length] as MapRegister;
}

function cases(kit: Kit, pick: Which, after = 0) {
  return kit.map.registers.some(pick) ? casesOf(kit, { after, resets: true }) : undefined;
}

function readOf({ region, offset, width }: MapRegister): ReadStep {
  return { kind: 'read', region: region.index, offset, size: width };
}

function writeOf({ region, offset, width }: MapRegister, value: number): WriteStep {
  return { kind: 'write', region: region.index, offset, size: width, value: (value & maskOf(width)) >>> 0 };
}

/** Both instances of twins brought to a register. @returns false if it is not there now */
function reach(twins: Twins, register: MapRegister, before: readonly Step[], direction: 'read' | 'write'): boolean {
  for (const step of before) twins.both(step);
  if (twins.stopped) return false;
  for (const step of twins.a.routeTo(register)) twins.both(step);
  return !twins.stopped && twins.a.reaches(register, direction);
}

interface Irrelevance extends Pick<Property, 'id' | 'title'> {
  readonly pick: Which;
  readonly what: string;
  /** Bits of a write that mean nothing to this register now. */
  bits(register: MapRegister, stored: number | undefined): number;
}

/**
 * From one state, two writes that differ only in bits that mean nothing must do the same: hooks see
 * what the access mode made of the write, so nothing a correct device does can tell them apart.
 */
function irrelevance(spec: Irrelevance): Property {
  const { id, title, pick, bits, what } = spec;
  return {
    id,
    title,
    cases: (kit) => cases(kit, pick, 3),
    violation(kit, c) {
      const register = pickRegister(kit, pick, c);
      const twins = new Twins(kit);
      const [, value, flips] = c.numbers as [number, number, number];
      if (reach(twins, register, c.before, 'write')) {
        const irrelevant = bits(register, twins.a.stored(register));
        const flipped = ((flips === 0 ? 0xffff_ffff : flips) & irrelevant) >>> 0;
        if (flipped !== 0) {
          const one = writeOf(register, value);
          const other = writeOf(register, (value ^ flipped) >>> 0);
          twins.each(one, other);
          for (const step of c.after) twins.both(step);
          twins.end();
          const after = [one, other].map(({ value: written }) => `after ${hexOf(written)}`) as [string, string];
          const found = disagreement(twins, ['one', 'other'], after);
          return (
            found && { ...found, message: `${what} ${hexOf(flipped)} of ${register.row.name} matter: ${found.message}` }
          );
        }
      }
      kit.done(twins.a);
      kit.done(twins.b);
      return undefined;
    },
  };
}

export const readOnly: Property = irrelevance({
  id: 'read-only',
  title: 'bits the guest cannot write ignore what it writes',
  what: 'the read-only bits',
  pick: ({ masks }) => masks.ignored !== 0,
  bits: ({ masks }) => masks.ignored,
});

export const clearAndSet: Property = irrelevance({
  id: 'clear-and-set',
  title: 'w1c, w1s and w0c bits change only where the guest asks for it',
  what: 'bits that are already clear (w1c, w0c) or set (w1s)',
  pick: ({ masks }) => (masks.w1c | masks.w1s | masks.w0c) !== 0,
  bits({ masks }, stored) {
    if (stored === undefined) return 0;
    return ((masks.w1c & ~stored) | (masks.w0c & ~stored) | (masks.w1s & stored)) >>> 0;
  },
});

/** One instance; `look` is given it once a register is reached. */
function solo(
  kit: Kit,
  register: MapRegister,
  before: readonly Step[],
  direction: 'read' | 'write',
  look: (subject: Subject, act: (step: Step) => number | undefined, ops: readonly Op[]) => Violation | undefined,
): Violation | undefined {
  const subject = kit.fresh();
  const ops: Op[] = [];
  const act = (step: Step) => {
    ops.push({ a: step });
    return subject.do(step);
  };
  for (const step of before) {
    act(step.kind === 'advance' && step.ms < 0 ? toNext(subject) : step);
    if (subject.failure !== undefined || subject.over) break;
  }
  let found: Violation | undefined;
  if (subject.failure === undefined && !subject.over) {
    for (const step of subject.routeTo(register)) act(step);
    if (subject.reaches(register, direction)) found = look(subject, act, ops);
    if (subject.failure !== undefined || subject.over) found = undefined;
  }
  kit.done(subject);
  return found;
}

export function toNext(subject: Subject): Step {
  const { next } = subject.machine.clock;
  return { kind: 'advance', ms: next === undefined ? 1 : Math.max(0, next - subject.now) };
}

const hasFixedBits: Which = ({ masks }) => (masks.fixed | masks.wo) !== 0;
export const fixedBits: Property = {
  id: 'fixed-bits',
  title: 'const and reserved bits read as their reset value, wo bits as 0',
  cases: (kit) => cases(kit, hasFixedBits),
  violation(kit, c) {
    const register = pickRegister(kit, hasFixedBits, c);
    const { row, masks } = register;
    return solo(kit, register, c.before, 'read', (_subject, act, ops) => {
      const value = act(readOf(register)) ?? 0;
      const mask = (masks.fixed | masks.wo) >>> 0;
      const wanted = (row.reset & masks.fixed & ~masks.wo) >>> 0;
      if ((value & mask) >>> 0 === wanted) return undefined;
      return {
        message: `${row.name} reads ${hexOf(value)}, but its bits ${hexOf(mask)} are always ${hexOf(wanted)}`,
        ops,
        names: ['t'],
        expectation: { kind: 'reads', mask, value: wanted },
      };
    });
  },
};

// Without hooks nothing but the access mode decides, so the result is known exactly.
const isPlain: Which = ({ region, hooks }) => region.kind === 'registers' && !hooks.read && !hooks.write && !hooks.peek;
export const plainRegisters: Property = {
  id: 'plain-registers',
  title: 'registers without hooks do what their access mode says',
  cases: (kit) => cases(kit, (register) => isPlain(register) && !register.named),
  violation(kit, c) {
    const register = pickRegister(kit, (one) => isPlain(one) && !one.named, c);
    const { masks, row, width } = register;
    const all = maskOf(width);
    return solo(kit, register, c.before, 'write', (subject, act, ops) => {
      if (!subject.reaches(register, 'read')) return undefined;
      const old = subject.stored(register) ?? 0;
      const value = (c.numbers[1] as number) & all;
      act(writeOf(register, value));
      let next = (old & ~masks.stored) | (value & masks.stored);
      next = next & ~(value & masks.w1c) & ~(~value & masks.w0c);
      next = (next | (value & masks.w1s)) & ~masks.wo & all;
      const read = act(readOf(register)) ?? 0;
      if (read === next >>> 0) return undefined;
      return {
        message: `${row.name} held ${hexOf(old)}; after a write of ${hexOf(value >>> 0)} it reads ${hexOf(read)}, not ${hexOf(next >>> 0)}`,
        ops,
        names: ['t'],
        expectation: { kind: 'reads', mask: all, value: next >>> 0 },
      };
    });
  },
};

const isPeekable: Which = ({ region, hooks, row }) =>
  region.kind === 'registers' && !hooks.read && row.access !== 'unimplemented';
export const peekValue: Property = {
  id: 'peek-value',
  title: 'peek tells what the next read gives',
  cases: (kit) => cases(kit, isPeekable),
  violation(kit, c) {
    const register = pickRegister(kit, isPeekable, c);
    return solo(kit, register, c.before, 'read', (subject, act, ops) => {
      const peeked = subject.peek(register);
      const read = act(readOf(register));
      if (peeked === undefined || peeked === read || subject.failure !== undefined) return undefined;
      return {
        message: `a peek of ${register.row.name} gives ${hexOf(peeked)}, the read after it ${hexOf(read)}`,
        ops,
        names: ['t'],
        expectation: { kind: 'reads-as-peeked' },
      };
    });
  },
};

const isWide: Which = ({ width, region }) => width > 1 && region.sizes.includes(1);
export const readWidths: Property = {
  id: 'read-widths',
  title: 'a register reads the same in parts',
  cases: (kit) => cases(kit, isWide),
  violation(kit, c) {
    const register = pickRegister(kit, isWide, c);
    const twins = new Twins(kit);
    if (reach(twins, register, c.before, 'read') && !readHasEffect(kit, register, c.before)) {
      const parts: PartsStep = { ...readOf(register), kind: 'read-parts', part: partOf(register, c), value: 0 };
      twins.each(readOf(register), parts);
      twins.end({});
      const found = disagreement(twins, ['whole', 'parts'], ['read whole', `read in parts of ${parts.part}`]);
      return found && { ...found, message: `${register.row.name}: ${found.message}` };
    }
    kit.done(twins.a);
    kit.done(twins.b);
    return undefined;
  },
};

function partOf({ region, width }: MapRegister, c: Case): number {
  const parts = [1, 2].filter((part) => part < width && region.sizes.includes(part));
  return parts[(c.numbers[1] as number) % parts.length] as number;
}

/**
 * Does reading change anything a test could see? Then a second read may differ, and nothing can be
 * said about reading in parts. Tried on an instance of its own, brought to the same place.
 */
function readHasEffect(kit: Kit, register: MapRegister, before: readonly Step[]): boolean {
  const subject = kit.fresh();
  for (const step of before) subject.do(step.kind === 'advance' && step.ms < 0 ? toNext(subject) : step);
  for (const step of subject.routeTo(register)) subject.do(step);
  subject.machine.takeMsis();
  const seen = () => `${subject.peek(register)} ${subject.lines()}${withoutRegister(subject, register)}`;
  const first = seen();
  const read = [subject.do(readOf(register))];
  const second = seen();
  read.push(subject.do(readOf(register)));
  const silent = subject.machine.takeMsis().length === 0 && !subject.machine.memory.isDirty;
  kit.done(subject);
  const peeked = Number(first.split(' ')[0]);
  return first !== second || read[0] !== read[1] || read[0] !== peeked || !silent;
}

/** Saved state, but for the register itself: a read hook may leave there what it read. */
function withoutRegister(subject: Subject, { region, row }: MapRegister): string {
  const parts = { ...subject.parts() };
  const own = parts[region.name];
  if (typeof own === 'object' && own !== null) parts[region.name] = { ...own, [row.name]: 0 };
  return JSON.stringify(parts);
}

// A handler that takes no narrow access gets them widened, with what the other bits read as written back.
const isPlainWide: Which = (register) =>
  isPlain(register) && isWide(register) && !register.named && register.region.smallest === 1;
export const writeWidths: Property = {
  id: 'write-widths',
  title: 'a register without hooks takes a write in parts',
  cases: (kit) => cases(kit, isPlainWide),
  violation(kit, c) {
    const register = pickRegister(kit, isPlainWide, c);
    const twins = new Twins(kit);
    if (reach(twins, register, c.before, 'write')) {
      const whole = writeOf(register, c.numbers[2] as number);
      const parts: PartsStep = { ...whole, kind: 'write-parts', part: partOf(register, c) };
      twins.each(whole, parts);
      twins.end();
      const found = disagreement(twins, ['whole', 'parts'], ['written whole', `written in parts of ${parts.part}`]);
      return found && { ...found, message: `${register.row.name}: ${found.message}` };
    }
    kit.done(twins.a);
    kit.done(twins.b);
    return undefined;
  },
};
