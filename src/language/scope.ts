import type { MachineFacts, Prefix } from '../model/index.ts';
import type { Diagnostics } from './diagnostic.ts';
import type { Token } from './lexer.ts';
import type { PortRange } from './policy.ts';
import type { Sources } from './source.ts';
import { Space } from './space.ts';
import type { OperandSyntax } from './syntax.ts';

export interface Element {
  readonly address: Prefix;
  readonly port: PortRange;
  /** A name, perhaps with `*`. */
  readonly name: string;
}
export type SetType = keyof Element;

/** What a `set` statement defines. */
export type SetValue = { [T in SetType]: { readonly type: T; readonly values: readonly Element[T][] } }[SetType];

/** What the parts of a policy can refer to while it is checked. */
export interface Scope {
  readonly sources: Sources;
  readonly diagnostics: Diagnostics;
  /** Of the machine that the policy is for, where that is at hand. */
  readonly machine: MachineFacts | undefined;
  /** Undefined for one whose definition has a mistake. */
  readonly sets: ReadonlyMap<string, SetValue | undefined>;
  /** Sets that some rule adds to. */
  readonly dynamic: ReadonlySet<string>;
  /** Constants; those with a mistake are of kind `error`. */
  readonly lets: ReadonlyMap<string, OperandSyntax>;
  /** Names of sets and constants that something refers to; grows. */
  readonly used: Set<string>;
  /** Where conditions are compared. */
  readonly space: Space;
  /** What of the machine was reported as missing; grows. */
  readonly missed: Set<keyof MachineFacts>;
  /** Timers handed out; grows. */
  timers: number;
}

export const createScope = (sources: Sources, diagnostics: Diagnostics, machine?: MachineFacts): Scope => ({
  sources,
  diagnostics,
  machine,
  sets: new Map(),
  dynamic: new Set(),
  lets: new Map(),
  used: new Set(),
  space: new Space(),
  missed: new Set(),
  timers: 0,
});

/** A constant's value in the place where it is named; anything else as it is. */
export function resolveLet(operand: OperandSyntax, scope: Scope): OperandSyntax {
  if (operand.kind !== 'word') return operand;
  const value = scope.lets.get(operand.token.text);
  if (!value) return operand;
  scope.used.add(operand.token.text);
  const { start, end } = operand;
  const place = (token: Token): Token => ({ ...token, start, end });
  switch (value.kind) {
    case 'literal':
    case 'string':
      return { kind: value.kind, token: place(value.token), start, end };
    case 'range':
      return { kind: 'range', first: place(value.first), last: place(value.last), start, end };
    default:
      return { kind: 'error', start, end };
  }
}

/** The same for a single value; undefined where the constant has a mistake, or is a range, which is reported. */
export function resolveToken(token: Token, what: string, scope: Scope): Token | undefined {
  if (token.kind !== 'word') return token;
  const operand = resolveLet({ kind: 'word', token, start: token.start, end: token.end }, scope);
  if (operand.kind === 'range') scope.diagnostics.add('no-range', token, { what });
  return operand.kind === 'word' || operand.kind === 'literal' || operand.kind === 'string' ? operand.token : undefined;
}
