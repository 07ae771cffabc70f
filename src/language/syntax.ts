import type { Comment, Token } from './lexer.ts';
import type { Span } from './source.ts';

/** A policy as written: names unresolved, values unread, every node with its place. Formatter and editor work on this. */
export interface FileSyntax {
  readonly statements: readonly StatementSyntax[];
  readonly comments: readonly Comment[];
}

export type StatementSyntax = LinkSyntax | QueueSyntax | SetSyntax | RuleSyntax | DefaultSyntax;

/** `text` is undefined where a name is missing or cannot be one; that has been reported. */
export interface NameSyntax extends Span {
  readonly text: string | undefined;
}

export interface LinkSyntax extends Span {
  readonly kind: 'link';
  readonly name: NameSyntax;
  /** Undefined where no block could be read; that has been reported. */
  readonly settings: readonly SettingSyntax[] | undefined;
}

export interface QueueSyntax extends Span {
  readonly kind: 'queue';
  readonly name: NameSyntax;
  /** Undefined where no block could be read; that has been reported. */
  readonly settings: readonly SettingSyntax[] | undefined;
}

export interface SettingSyntax extends Span {
  readonly key: Token;
  /** Undefined where it is missing; that has been reported. */
  readonly value: Token | undefined;
}

export interface SetSyntax extends Span {
  readonly kind: 'set';
  readonly name: NameSyntax;
  readonly value: OperandSyntax;
}

export interface RuleSyntax extends Span {
  readonly kind: 'rule';
  readonly name: NameSyntax;
  /** Absent: every flow. */
  readonly when?: ConditionSyntax | undefined;
  readonly queue: NameSyntax;
}

export interface DefaultSyntax extends Span {
  readonly kind: 'default';
  readonly entries: readonly { readonly origin: Token; readonly queue: NameSyntax }[];
}

export type Operator = 'is' | 'in' | 'not in' | '=' | '!=' | '<' | '<=' | '>' | '>=';

/** `error` stands where something was reported that could not be read; whoever walks the tree says no more of it. */
export type ConditionSyntax =
  | (Span & { readonly kind: 'and' | 'or'; readonly terms: readonly ConditionSyntax[] })
  | (Span & { readonly kind: 'not'; readonly term: ConditionSyntax })
  | (Span & { readonly kind: 'protocol'; readonly word: Token })
  | CompareSyntax
  | ErrorSyntax;

export interface CompareSyntax extends Span {
  readonly kind: 'compare';
  readonly subject: Token;
  readonly operator: Operator;
  readonly operand: OperandSyntax;
}

export type OperandSyntax =
  | (Span & { readonly kind: 'literal'; readonly token: Token })
  /** A set's name, or a word such as `remote` or `tcp`: the subject's type tells. */
  | (Span & { readonly kind: 'word'; readonly token: Token })
  | (Span & { readonly kind: 'range'; readonly first: Token; readonly last: Token })
  | (Span & { readonly kind: 'list'; readonly items: readonly OperandSyntax[] })
  | ErrorSyntax;

export interface ErrorSyntax extends Span {
  readonly kind: 'error';
}
