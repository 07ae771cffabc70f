import type { Token } from './lexer.ts';
import type { Span } from './source.ts';
import type { ConditionSyntax, FactSyntax, FileSyntax, NameSyntax, OperandSyntax, SettingSyntax } from './syntax.ts';
import { isSubject, SUBJECTS, VALUES } from './vocabulary.ts';

export type SymbolKind = 'link' | 'queue' | 'set' | 'let' | 'rule';

/** A place where a name stands. */
export interface Occurrence extends Span {
  readonly name: string;
  /** What it can be the name of, the likeliest first. */
  readonly kinds: readonly SymbolKind[];
  /** The whole statement, where it is defined here. */
  readonly statement?: Span | undefined;
}

/** Every name in a file, in the order of the text: definitions, and what refers to them. A reference may lead nowhere. */
export function findOccurrences(file: FileSyntax): readonly Occurrence[] {
  const found: Occurrence[] = [];
  const define = (kind: SymbolKind, { text, start, end }: NameSyntax, statement: Span) => {
    if (text !== undefined) found.push({ name: text, kinds: [kind], start, end, statement });
  };
  const refer = (name: NameSyntax | Token | undefined, ...kinds: SymbolKind[]) => {
    if (name?.text !== undefined) found.push({ name: name.text, kinds, start: name.start, end: name.end });
  };
  const constant = (token: Token | undefined) => {
    if (token?.kind === 'word') refer(token, 'let');
  };
  const operand = (syntax: OperandSyntax, own: readonly string[], ...kinds: SymbolKind[]): void => {
    if (syntax.kind === 'word' && !own.includes(syntax.token.text)) refer(syntax.token, ...kinds);
    else if (syntax.kind === 'list') for (const item of syntax.items) operand(item, own, ...kinds);
  };
  const condition = (syntax: ConditionSyntax): void => {
    if (syntax.kind === 'and' || syntax.kind === 'or') for (const term of syntax.terms) condition(term);
    else if (syntax.kind === 'not' || syntax.kind === 'held') condition(syntax.term);
    if (syntax.kind === 'held') constant(syntax.for);
    if (syntax.kind === 'compare') compare(syntax);
  };
  const compare = (syntax: FactSyntax) => {
    constant(syntax.window);
    const { text } = syntax.subject;
    const type = isSubject(text) ? SUBJECTS[text] : undefined;
    // Words that are values of their own are no names: `origin local`.
    const own = (type && VALUES[type]) ?? [];
    if (type === 'address' || type === 'port' || type === 'name') operand(syntax.operand, own, 'set', 'let');
    else operand(syntax.operand, own, 'let');
  };
  const setting = ({ key, value }: SettingSyntax, block: 'link' | 'queue') => {
    if (block === 'link' && key.text === 'share') refer(value, 'link');
    else if (key.text !== 'overhead') constant(value);
  };

  // A loop, for queues may be nested.
  const rest = [...file.statements];
  for (let statement = rest.pop(); statement; statement = rest.pop()) {
    const { kind } = statement;
    if ('name' in statement) define(statement.kind, statement.name, statement);
    if (kind === 'link' || kind === 'queue') for (const one of statement.settings ?? []) setting(one, kind);
    if (kind === 'queue') for (const queue of statement.queues) rest.push(queue);
    if (kind === 'set' || kind === 'let') operand(statement.value, [], 'let');
    if (kind === 'default') for (const { queue } of statement.entries) refer(queue, 'queue');
    if (kind === 'expect') {
      for (const fact of statement.flow.facts) compare(fact);
      refer(statement.queue, 'queue');
    }
    if (kind === 'rule') {
      if (statement.when) condition(statement.when);
      refer(statement.queue, 'queue');
      for (const effect of statement.effects) {
        if (effect.kind === 'add') refer(effect.set, 'set');
        if (effect.kind === 'add') constant(effect.for);
        if (effect.kind === 'police') constant(effect.rate);
        if (effect.kind === 'mirror') constant(effect.tap);
      }
      if (statement.until) condition(statement.until);
    }
  }
  return found.sort((a, b) => a.start - b.start);
}
