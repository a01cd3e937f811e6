// A counterexample as a vitest test that can be pasted next to the device.
import type { LayoutRow } from '../../device/layout.js';
import type { MapRegister } from './device-map.js';
import type { Kit } from './kit.js';
import type { Property, Violation } from './property.js';
import type { Op, Place, Step } from './steps.js';
import { hexOf } from './twins.js';

/** Source of a test that fails as the violation tells, and passes once the device is right. */
export function printTest(kit: Kit, property: Property, violation: Violation): string {
  return new Printer(kit, violation).print(property.title);
}

/** Steps as one short line each. */
export function printSteps(kit: Kit, ops: readonly Op[]): string[] {
  return ops.flatMap(({ a, b }) => {
    const [one, other] = [a && stepText(kit, a), b && stepText(kit, b)];
    return one === other || other === undefined ? [one as string] : one === undefined ? [other] : [one, other];
  });
}

function stepText(kit: Kit, step: Step): string {
  if (step.kind === 'advance') return `advance ${step.ms} ms`;
  if (step.kind === 'event') return step.name;
  if (step.kind === 'reset') return 'reset';
  if (step.kind === 'reload') return 'save and restore';
  const region = kit.map.regions.find(({ index }) => index === step.region);
  const name = rowAt(kit, step)?.row.name ?? `offset ${hexOf(step.offset)}`;
  const where = `${region?.name ? `${region.name} ` : ''}${name}, ${step.size} byte${step.size === 1 ? '' : 's'}`;
  return `${step.kind} ${where}${'value' in step && step.kind !== 'read-parts' ? `: ${hexOf(step.value)}` : ''}`;
}

/** The one register an access of this place can only mean, whatever the bank. */
function rowAt(kit: Kit, { region, offset, size }: Place, writing?: boolean): MapRegister | undefined {
  const there = kit.map.registers.filter(
    (register) =>
      register.region.index === region &&
      register.offset < offset + size &&
      offset < register.offset + register.width &&
      register.row.door !== 'index',
  );
  const meant = writing === undefined || there.length < 2 ? there : there.filter(({ row }) => can(row, writing));
  const [only] = meant;
  const exact = only?.offset === offset && only.width === size && only.row.door === 'none';
  return meant.length === 1 && exact ? only : undefined;
}

/** Is this access among the methods of the register's type? */
function can({ access }: LayoutRow, writing: boolean): boolean {
  return writing ? !['ro', 'rc', 'const'].includes(access) : access !== 'wo';
}

class Printer {
  private readonly lines: string[] = [];
  private usesRegion = false;
  private readonly className: string;

  constructor(
    private readonly kit: Kit,
    private readonly violation: Violation,
  ) {
    this.className = kit.device.name;
  }

  print(title: string): string {
    const { kit } = this;
    const type = kit.map.type;
    this.body();
    const source = ["import { expect, it } from 'vitest';"];
    const names = this.usesRegion ? 'drive, REGION' : 'drive';
    const { module = `./${fileName(this.className)}.js` } = kit.settings;
    const body = this.lines.map((line) => `  ${line}`);
    const helpers = this.helpers();
    const types = helpers.some((line) => line.includes('Driven<')) ? ', type Driven' : '';
    const used = [...new Set([...names.split(', ')])].join(', ');
    source.push(`import { ${used}${types} } from '@trapline/core/testing';`);
    source.push(`import { ${this.className} } from '${module}';`, '');
    if (helpers.length > 0) source.push(...helpers, '');
    source.push(`it(${quote(`${type}: ${title}`)}, () => {`, ...body, '});', '');
    return source.join('\n');
  }

  /** What the settings gave and no source can be made of. */
  private helpers(): string[] {
    const { settings } = this.kit;
    const lines: string[] = [];
    if (this.optionsText() === 'options()') {
      lines.push('// The options describeDevice was given:', `declare function options(): object;`);
    }
    const type = `(t: Driven<typeof ${this.className}>) => void`;
    if (settings.arrange) lines.push('// As given to describeDevice:', `declare const arrange: ${type};`);
    if (this.violation.ops.some(({ a, b }) => a?.kind === 'event' || b?.kind === 'event')) {
      lines.push('// As given to describeDevice:', `declare const events: Record<string, ${type}>;`);
    }
    return lines;
  }

  private optionsText(): string {
    const { options, settings } = this.kit;
    if (settings.optionsSource !== undefined) return settings.optionsSource;
    if (typeof options === 'function') return 'options()';
    if (Object.keys(options).length === 0) return '';
    return literal(options) ?? 'options()';
  }

  private make(name: string, keyword = 'const'): void {
    const options = this.optionsText();
    this.lines.push(`${keyword} ${name} = drive(${this.className}${options === '' ? '' : `, ${options}`});`);
    if (this.kit.settings.arrange) this.lines.push(`arrange(${name});`);
  }

  private body(): void {
    const { ops, names, expectation } = this.violation;
    const [a, b] = names;
    if (b === undefined) this.soloBody(a);
    else if (ops.some((op) => op.a?.kind === 'reload')) this.reloadBody(a, b);
    else {
      this.make(a);
      this.make(b);
      for (const [i, op] of ops.entries()) {
        if (i < ops.length - 1 || !this.isObserved(op)) this.twinStep(op, a, b);
      }
    }
    if (b !== undefined && expectation.kind === 'twins') this.expectTwins(a, b);
  }

  private soloBody(t: string): void {
    const { ops, expectation } = this.violation;
    this.make(t);
    for (const [i, op] of ops.entries()) {
      const step = op.a as Step;
      const text = this.access(t, step);
      if (i < ops.length - 1) this.lines.push(`${text};`);
      else if (expectation.kind === 'reads-as-peeked') {
        this.lines.push(`const peeked = ${this.access(t, { ...step, kind: 'peek' } as Step)};`);
        this.lines.push(`expect(${text}).toBe(peeked);`);
      } else if (expectation.kind === 'reads') {
        const { mask, value } = expectation;
        this.lines.push(`expect((${text} & ${hexOf(mask)}) >>> 0).toBe(${hexOf(value)});`);
      } else {
        this.lines.push(`${text};`, `expect(${t}.failure).toBeUndefined();`);
      }
    }
  }

  /** The saved device and the restored one are the same until the first save. */
  private reloadBody(restored: string, original: string): void {
    const { ops } = this.violation;
    const reloads = ops.filter((op) => op.a?.kind === 'reload').length;
    this.make(original);
    let split = false;
    for (const [i, op] of ops.entries()) {
      if (op.a?.kind === 'reload') {
        const from = split ? restored : original;
        if (split) this.lines.push(`const saved${i} = ${from}.save();`);
        if (!split) this.make(restored, reloads > 1 ? 'let' : 'const');
        else this.lines.push(`${restored} = drive(${this.callArguments()});`);
        this.lines.push(`${restored}.restore(${split ? `saved${i}` : `${from}.save()`});`);
        split = true;
      } else if (i === ops.length - 1 && this.isObserved(op)) break;
      else if (split) this.twinStep(op, restored, original);
      else this.lines.push(`${this.access(original, op.b as Step)};`);
    }
  }

  private callArguments(): string {
    const options = this.optionsText();
    return options === '' ? this.className : `${this.className}, ${options}`;
  }

  /** Is the last step the one whose value, failure or MSIs are looked at? */
  private isObserved(op: Op): boolean {
    const { expectation } = this.violation;
    if (expectation.kind !== 'twins' || op.a === undefined || op.b === undefined) return false;
    return expectation.mismatch.kind === 'value' || expectation.mismatch.kind === 'msis';
  }

  private twinStep({ a: forA, b: forB }: Op, a: string, b: string): void {
    if (forA && forA === forB) this.lines.push(`for (const t of [${a}, ${b}]) ${this.access('t', forA)};`);
    else {
      if (forA) this.lines.push(`${this.access(a, forA)};`);
      if (forB) this.lines.push(`${this.access(b, forB)};`);
    }
  }

  private expectTwins(a: string, b: string): void {
    const { ops, expectation } = this.violation;
    if (expectation.kind !== 'twins') return;
    const { mismatch } = expectation;
    const last = ops.at(-1) as Op;
    const same = (of: (t: string) => string, how = 'toBe') => this.lines.push(`expect(${of(a)}).${how}(${of(b)});`);
    if (mismatch.kind === 'value') {
      this.lines.push(`expect(${this.access(a, last.a as Step)}).toBe(${this.access(b, last.b as Step)});`);
    } else if (mismatch.kind === 'line') same((t) => `${t}.lines${member(mismatch.line)}?.level`);
    else if (mismatch.kind === 'state') same((t) => `${t}.save().devices`, 'toEqual');
    else if (mismatch.kind === 'memory') same((t) => `${t}.memory.readU8(${hexOf(mismatch.address)})`);
    else if (mismatch.kind === 'msis') {
      this.lines.push(`for (const t of [${a}, ${b}]) t.takeMsis();`);
      this.twinStep(last, a, b);
      same((t) => `${t}.takeMsis()`, 'toEqual');
    } else if (mismatch.kind === 'failure') same((t) => `${t}.failure?.message`);
    else {
      const register = this.kit.map.registers.find(
        ({ region, r }) => region.index === mismatch.region && r === mismatch.r,
      );
      if (register) same((t) => this.peekText(t, register));
    }
  }

  private peekText(t: string, register: MapRegister): string {
    const { region, row, offset, width } = register;
    if (region.kind === 'registers' && row.element < 0 && row.door !== 'index') {
      return `${t}.guest${member(region.name)}${row.path.map(member).join('')}.peek()`;
    }
    return `${this.regionText(t, region.index)}.peek(${hexOf(offset)}, ${width})`;
  }

  /** One step as a call on a driven device. */
  private access(t: string, step: Step): string {
    switch (step.kind) {
      case 'advance':
        return `${t}.clock.advance(${step.ms})`;
      case 'reset':
        return `${t}.reset()`;
      case 'event':
        return `events[${quote(step.name)}]?.(${t})`;
      case 'reload':
        return '';
      case 'read-parts': {
        const part = (at: number) => {
          const read = `${this.regionText(t, step.region)}.read(${hexOf(step.offset + at)}, ${step.part})`;
          return at === 0 ? read : `${read} * 2 ** ${8 * at}`;
        };
        return Array.from({ length: step.size / step.part }, (_, i) => part(i * step.part)).join(' + ');
      }
      case 'write-parts':
        return Array.from({ length: step.size / step.part }, (_, i) => {
          const at = i * step.part;
          const value = Math.floor(step.value / 2 ** (8 * at)) % 2 ** (8 * step.part);
          return `${this.regionText(t, step.region)}.write(${hexOf(step.offset + at)}, ${step.part}, ${hexOf(value)})`;
        }).join(';\n  ');
      case 'direct-read':
        return `${this.handlerText(t, step.region)}.read(${hexOf(step.offset)}, ${step.size})`;
      case 'direct-write':
        return `${this.handlerText(t, step.region)}.write(${hexOf(step.offset)}, ${step.size}, ${hexOf(step.value)})`;
      case 'write': {
        const register = rowAt(this.kit, step, true);
        if (register && this.hasMethod(register, true))
          return `${this.registerText(t, register)}.write(${hexOf(step.value)})`;
        return `${this.regionText(t, step.region)}.write(${hexOf(step.offset)}, ${step.size}, ${hexOf(step.value)})`;
      }
      default: {
        const register = rowAt(this.kit, step, false);
        if (register && this.hasMethod(register, false)) return `${this.registerText(t, register)}.${step.kind}()`;
        return `${this.regionText(t, step.region)}.${step.kind}(${hexOf(step.offset)}, ${step.size})`;
      }
    }
  }

  private hasMethod({ region, row }: MapRegister, writing: boolean): boolean {
    return region.kind === 'registers' && row.element < 0 && can(row, writing);
  }

  private registerText(t: string, { region, row }: MapRegister): string {
    return `${t}.guest${member(region.name)}${row.path.map(member).join('')}`;
  }

  private regionText(t: string, index: number): string {
    const region = this.kit.map.regions.find((one) => one.index === index);
    if (!region?.name) return `${t}.guest`;
    if (region.kind !== 'registers') return `${t}.guest${member(region.name)}`;
    this.usesRegion = true;
    return `${t}.guest${member(region.name)}[REGION]`;
  }

  private handlerText(t: string, index: number): string {
    const region = this.kit.map.regions.find((one) => one.index === index);
    return `${t}.device${region?.name ? member(region.name) : ''}`;
  }
}

function member(name: string): string {
  return /^[A-Za-z_$][\w$]*$/.test(name) ? `.${name}` : `[${quote(name)}]`;
}

function quote(text: string): string {
  return `'${text.replaceAll('\\', '\\\\').replaceAll("'", "\\'")}'`;
}

function fileName(className: string): string {
  return className.replace(/([a-z0-9])([A-Z])/g, '$1-$2').toLowerCase();
}

/** Plain data as source, or undefined. */
function literal(value: unknown): string | undefined {
  if (typeof value === 'string') return quote(value);
  if (value === null || ['number', 'boolean', 'undefined'].includes(typeof value)) return String(value);
  if (typeof value !== 'object') return undefined;
  if (Array.isArray(value)) {
    const items = value.map(literal);
    return items.includes(undefined) ? undefined : `[${items.join(', ')}]`;
  }
  if (
    ![Object.prototype, null].includes(Object.getPrototypeOf(value)) ||
    Object.getOwnPropertySymbols(value).length > 0
  ) {
    return undefined;
  }
  const entries = Object.entries(value).map(([key, item]) => {
    const text = literal(item);
    return text === undefined ? undefined : `${/^[A-Za-z_$][\w$]*$/.test(key) ? key : quote(key)}: ${text}`;
  });
  return entries.includes(undefined) ? undefined : `{ ${entries.join(', ')} }`;
}
