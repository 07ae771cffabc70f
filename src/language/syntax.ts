import type { Comment, Token } from './lexer.ts';
import type { Span } from './source.ts';

/** A file as written: names unresolved, values unread, every node with its place. Formatter and editor work on this. */
export interface FileSyntax {
  readonly statements: readonly StatementSyntax[];
  readonly comments: readonly Comment[];
}

export type StatementSyntax =
  | LinkSyntax
  | QueueSyntax
  | SetSyntax
  | LetSyntax
  | RuleSyntax
  | DefaultSyntax
  | ExpectSyntax
  | IncludeSyntax
  | MarksSyntax;

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
  /** The queues nested in it. */
  readonly queues: readonly QueueSyntax[];
}

export interface SettingSyntax extends Span {
  readonly key: Token;
  /** Undefined where it is missing; that has been reported. Of `fair by`, `ifb per` and `share tree with`, what comes behind. */
  readonly value: Token | undefined;
  /** Of `overhead`, what comes behind the first value. */
  readonly more: readonly Token[];
}

export interface SetSyntax extends Span {
  readonly kind: 'set';
  readonly name: NameSyntax;
  readonly value: OperandSyntax;
}

export interface LetSyntax extends Span {
  readonly kind: 'let';
  readonly name: NameSyntax;
  readonly value: OperandSyntax;
}

export interface RuleSyntax extends Span {
  readonly kind: 'rule';
  readonly name: NameSyntax;
  /** Absent: every flow. */
  readonly when?: ConditionSyntax | undefined;
  /** Absent where the rule has other effects alone. */
  readonly queue?: NameSyntax | undefined;
  readonly effects: readonly EffectSyntax[];
  readonly until?: ConditionSyntax | undefined;
}

/** Undefined parts are missing, which has been reported. */
export type EffectSyntax =
  | (Span & {
      readonly kind: 'add';
      /** `local` or `remote`. */
      readonly side: Token;
      readonly set: NameSyntax;
      readonly for: Token | undefined;
    })
  | (Span & { readonly kind: 'mirror'; readonly tap: Token | undefined })
  | (Span & { readonly kind: 'police'; readonly rate: Token | undefined });

export interface DefaultSyntax extends Span {
  readonly kind: 'default';
  readonly entries: readonly { readonly origin: Token; readonly queue: NameSyntax }[];
}

export interface ExpectSyntax extends Span {
  readonly kind: 'expect';
  readonly flow: FlowSyntax;
  readonly queue: NameSyntax;
}

export interface IncludeSyntax extends Span {
  readonly kind: 'include';
  /** Undefined where it is missing; that has been reported. */
  readonly path: Token | undefined;
}

export interface MarksSyntax extends Span {
  readonly kind: 'marks';
  /** Undefined where it is missing; that has been reported. */
  readonly mask: Token | undefined;
}

/** A flow as `expect` and `--flow` have it. Undefined parts are missing, which has been reported. */
export interface FlowSyntax extends Span {
  readonly protocol: Token | undefined;
  /** The end that opened it. */
  readonly opener: Token | undefined;
  readonly answerer: Token | undefined;
  readonly facts: readonly FactSyntax[];
}

export interface FactSyntax extends SubjectSyntax {
  /** A word of {@link SUBJECTS}, `held`, or `local` and `remote` with the name of a set. */
  readonly operand: OperandSyntax;
}

export type Operator = 'is' | 'in' | 'not in' | '=' | '!=' | '<' | '<=' | '>' | '>=';

/** `error` stands where something was reported that could not be read; whoever walks the tree says no more of it. */
export type ConditionSyntax =
  | (Span & { readonly kind: 'and' | 'or'; readonly terms: readonly ConditionSyntax[] })
  | (Span & { readonly kind: 'not'; readonly term: ConditionSyntax })
  | (Span & { readonly kind: 'held'; readonly term: ConditionSyntax; readonly for: Token | undefined })
  /** A predicate of one word. */
  | (Span & { readonly kind: 'bare'; readonly word: Token })
  | CompareSyntax
  | ErrorSyntax;

/** What is looked at: a word, `rate over WINDOW`, or `count(OF by KEY)`. */
export interface SubjectSyntax extends Span {
  readonly subject: Token;
  readonly window?: Token | undefined;
  readonly of?: Token | undefined;
  readonly by?: Token | undefined;
}

export interface CompareSyntax extends SubjectSyntax {
  readonly kind: 'compare';
  readonly operator: Operator;
  readonly operand: OperandSyntax;
}

export type OperandSyntax =
  | (Span & { readonly kind: 'literal'; readonly token: Token })
  /** The name of a set or constant, or a word such as `remote` or `tcp`: the subject's type tells. */
  | (Span & { readonly kind: 'word'; readonly token: Token })
  | (Span & { readonly kind: 'string'; readonly token: Token })
  | (Span & { readonly kind: 'range'; readonly first: Token; readonly last: Token })
  | (Span & { readonly kind: 'list'; readonly items: readonly OperandSyntax[] })
  | ErrorSyntax;

export interface ErrorSyntax extends Span {
  readonly kind: 'error';
}
