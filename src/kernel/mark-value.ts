import { type MarkUse, WHOLE_MARK, type WholeUse } from '../model/index.ts';

/** A use of marks, by whomever and wherever. */
export type Use = Omit<MarkUse, 'who' | 'where'>;
export type Register = MarkUse['of'];

/** Bits of a mark that come through an expression. */
interface Part {
  readonly of: Register;
  /** Which ones, at their place in the mark. Never 0. */
  readonly mask: number;
  /** How many places to the left they have gone by then; negative: to the right. */
  readonly shift: number;
}

/** What an expression can come to, of 32 bits: parts of the marks that are there, and other bits. */
export interface Value {
  /** No two with the same register and shift. */
  readonly parts: readonly Part[];
  /** What numbers put in. */
  readonly bits: number;
  /** What something else puts in, which can be any. */
  readonly unknown: number;
}

export const constant = (bits: number): Value => ({ parts: [], bits: bits >>> 0, unknown: 0 });
export const markOf = (of: Register): Value => ({ parts: [{ of, mask: WHOLE_MARK, shift: 0 }], bits: 0, unknown: 0 });
export const UNKNOWN: Value = { parts: [], bits: 0, unknown: WHOLE_MARK };

/** The number of a value that is nothing else. */
export const numberOf = ({ parts, bits, unknown }: Value): number | undefined =>
  parts.length === 0 && unknown === 0 ? bits : undefined;

/** What is unknown is bounded by it, too. */
export function and({ parts, bits, unknown }: Value, mask: number): Value {
  const all = mask >>> 0 === WHOLE_MARK;
  return {
    parts: withoutEmpty(parts.map((part) => ({ ...part, mask: (part.mask & move(mask, -part.shift)) >>> 0 }))),
    bits: ((bits | (all ? 0 : unknown)) & mask) >>> 0,
    unknown: all ? unknown : 0,
  };
}

/** @param by places to the left; negative: to the right */
export const shifted = ({ parts, bits, unknown }: Value, by: number): Value => ({
  // A bit that leaves the 32 is gone, also where another shift goes back.
  parts: withoutEmpty(parts.map((part) => ({ ...part, mask: withinAfter(part, by), shift: part.shift + by }))),
  bits: move(bits, by),
  unknown: move(unknown, by),
});

/** What `a | b` or `a ^ b` can have; undefined where bits of a mark cancel themselves out. */
export function joined(a: Value, b: Value, sign: '|' | '^'): Value | undefined {
  const parts = [...a.parts];
  for (const part of b.parts) {
    const i = parts.findIndex(({ of, shift }) => of === part.of && shift === part.shift);
    if (i === -1) parts.push(part);
    else if (sign === '^' && (parts[i]!.mask & part.mask) !== 0) return undefined;
    else parts[i] = { ...part, mask: (parts[i]!.mask | part.mask) >>> 0 };
  }
  return { parts, bits: (a.bits | b.bits) >>> 0, unknown: (a.unknown | b.unknown) >>> 0 };
}

/** What it means for the marks that a value is written to one of them. Of what is unknown in it nothing is said. */
export function* written(register: Register, value: Value): Generator<Use> {
  const kept = value.parts.find(({ of, shift }) => of === register && shift === 0)?.mask ?? 0;
  const moved = value.parts.filter(({ of, shift }) => of !== register || shift !== 0);
  // A copy of all bits says nothing of which are used: who sets and compares them does.
  const partly = moved.filter((part) => !isWhole(part));
  const landing = partly.reduce((bits, { mask, shift }) => bits | move(mask, shift), 0);
  const bits = (value.bits | landing | (kept === 0 ? 0 : ~kept)) >>> 0;
  const copied = moved.some(isWhole);
  const overwrites = kept === 0 || copied ? 'overwrites' : undefined;
  const whole: WholeUse | undefined = register === 'ct' ? overwrites : copied ? 'restores' : undefined;
  if (bits !== 0 || whole) yield { of: register, bits, whole };
  for (const { of, mask } of partly) yield { of, bits: mask };
}

/** What it means for the marks that somebody goes by a value. @param others bits of what it is compared with */
export function* compared(value: Value, others: () => number): Generator<Use> {
  for (const part of value.parts)
    if (isWhole(part)) yield { of: part.of, bits: others(), whole: 'compares' };
    else yield { of: part.of, bits: part.mask };
}

/** Every bit that a number from `first` to `last` can have. */
export function span(first: number, last: number): number {
  const free = 32 - Math.clz32((first ^ last) >>> 0);
  return (first | last | (free === 32 ? WHOLE_MARK : 2 ** free - 1)) >>> 0;
}

const isWhole = ({ mask, shift }: Part): boolean => mask === WHOLE_MARK && shift === 0;
const withoutEmpty = (parts: readonly Part[]): Part[] => parts.filter(({ mask }) => mask !== 0);
const withinAfter = ({ mask, shift }: Part, by: number): number =>
  (mask & move(move(move(mask, shift), by), -(shift + by))) >>> 0;

/** Of 32 bits, as the kernel does it: what leaves them is gone. JavaScript takes the count modulo 32. */
function move(bits: number, by: number): number {
  if (Math.abs(by) >= 32) return 0;
  return by >= 0 ? (bits << by) >>> 0 : bits >>> -by;
}
