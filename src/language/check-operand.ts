import { readValue } from './check-value.ts';
import type { Token } from './lexer.ts';
import { didYouMean, didYouMeanOneOf } from './nearest.ts';
import type { Condition } from './policy.ts';
import { type Element, resolveLet, type Scope, type SetType } from './scope.ts';
import type { OperandSyntax } from './syntax.ts';
import { isOneOf } from './vocabulary.ts';

const SET_NAMES = { address: 'addresses', port: 'ports', name: 'names' } as const;

/** The values of a list, or the one value; undefined where there is none. */
export function itemsOf(operand: OperandSyntax, scope: Scope): readonly OperandSyntax[] | undefined {
  if (operand.kind === 'error') return undefined;
  if (operand.kind !== 'list') return [operand];
  if (operand.items.length > 0) return operand.items;
  scope.diagnostics.add('empty-list', operand, {});
  return undefined;
}

/** What each value of the operand gives; undefined where one has a mistake. */
export function readItems<T>(
  operand: OperandSyntax,
  scope: Scope,
  read: (item: OperandSyntax) => T | undefined,
): readonly T[] | undefined {
  const values = itemsOf(operand, scope)?.map(read);
  return values?.every((value) => value !== undefined) ? (values as T[]) : undefined;
}

/** One condition for each value of the operand, joined by `or`. */
export function anyOf(
  operand: OperandSyntax,
  scope: Scope,
  check: (item: OperandSyntax) => Condition | undefined,
): Condition | undefined {
  const terms = readItems(operand, scope, check);
  return terms?.length === 1 ? terms[0] : terms && { kind: 'or', terms };
}

/** One of the words that are values of the subject. */
export function checkWord<T extends string>(
  item: OperandSyntax,
  subject: string,
  what: string,
  words: readonly T[],
  scope: Scope,
): T | undefined {
  const { diagnostics } = scope;
  if (item.kind === 'word') {
    const found = item.token.text;
    if (isOneOf(words, found)) return found;
    if (scope.lets.has(found)) return checkWord(resolveLet(item, scope), subject, what, words, scope);
    diagnostics.add('unknown-value', item, { found, what, known: words.join(', ') }, didYouMean(found, words));
  } else if (item.kind === 'range') diagnostics.add('no-range', item, { what: subject });
  else if (item.kind === 'literal' || item.kind === 'string')
    readValue(item.token, [], subject, `one of ${words.join(', ')}`, diagnostics);
  return undefined;
}

/** The values of a named set or of a list, merged. A set's are shared by all who name it. */
export function readValues<T extends SetType>(
  subject: string,
  type: T,
  operand: OperandSyntax,
  scope: Scope,
  read: (item: OperandSyntax) => Element[T] | undefined,
  merge: (values: readonly Element[T][]) => readonly Element[T][],
): readonly Element[T][] | undefined {
  const single = resolveLet(operand, scope);
  if (single.kind === 'word') return namedSet(subject, type, single.token, scope);
  const values = readItems(single, scope, (item) => read(resolveLet(item, scope)));
  return values && merge(values);
}

/** The values of the set of that name. */
export function namedSet<T extends SetType>(
  subject: string,
  type: T,
  token: Token,
  { sets, lets, used, diagnostics }: Scope,
): readonly Element[T][] | undefined {
  const name = token.text;
  used.add(name);
  if (!sets.has(name))
    diagnostics.add('unknown-set', token, { name }, () => didYouMeanOneOf(name, [...sets.keys(), ...lets.keys()]));
  const set = sets.get(name);
  if (!set) return undefined;
  if (set.type === type) return set.values as readonly Element[T][];
  const fields = { subject, expected: SET_NAMES[type], name, actual: SET_NAMES[set.type] };
  diagnostics.add('wrong-set', token, fields);
  return undefined;
}

/** A name where only values can stand. */
export function reportNested(item: OperandSyntax, { used, diagnostics }: Scope): void {
  if (item.kind !== 'word') return;
  used.add(item.token.text);
  diagnostics.add('nested-set', item, { name: item.token.text });
}
