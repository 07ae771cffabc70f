import type { Diagnostics } from './diagnostic.ts';
import type { Token } from './lexer.ts';
import { nearest } from './nearest.ts';
import type { Source, Span } from './source.ts';
import { beginsPredicate, isOneOf, RESERVED, STATEMENTS } from './vocabulary.ts';

/** A place in the tokens, and how the parser speaks of it. */
export class Cursor {
  readonly diagnostics: Diagnostics;
  readonly source: Source;
  /** How deep in parentheses and `not`s; kept by the condition parser. */
  depth = 0;
  private readonly tokens: readonly Token[];
  private at = 0;
  private complainedAt = -1;
  private closed: ReadonlySet<Token> | undefined;

  constructor(tokens: readonly Token[], source: Source, diagnostics: Diagnostics) {
    this.tokens = tokens;
    this.source = source;
    this.diagnostics = diagnostics;
  }

  /** The token `ahead` of the next one; past the end, the end. */
  peek(ahead = 0): Token {
    return this.tokens[Math.min(this.at + ahead, this.tokens.length - 1)]!;
  }

  /** The token taken last; before the first, the first. */
  get previous(): Token {
    return this.tokens[Math.max(0, this.at - 1)]!;
  }

  get atEnd(): boolean {
    return this.peek().kind === 'end';
  }

  take(): Token {
    const token = this.peek();
    if (token.kind !== 'end') this.at++;
    return token;
  }

  /** The next token is one of these words or symbols. */
  is(...texts: readonly string[]): boolean {
    return isText(this.peek(), ...texts);
  }

  accept(...texts: readonly string[]): Token | undefined {
    return this.is(...texts) ? this.take() : undefined;
  }

  /** Which of these keywords the next word was meant to be, where it is none and something follows that it could lead. */
  meant(...keywords: readonly string[]): string | undefined {
    const { kind, text } = this.peek();
    const next = this.peek(1);
    if (kind !== 'word' || RESERVED.has(text) || beginsPredicate(text)) return undefined;
    if (next.kind === 'end' || next.first || (next.kind === 'symbol' && !isText(next, '(', '{'))) return undefined;
    return nearest(text, keywords);
  }

  /** Takes that keyword, also where it is mistyped, which is reported; `others` could stand here as well. */
  acceptMeant(keyword: string, others: readonly string[] = []): Token | undefined {
    if (this.is(keyword)) return this.take();
    if (this.meant(keyword, ...others) !== keyword) return undefined;
    const word = this.take();
    const fields = { expected: `"${keyword}"`, found: describe(word) };
    this.diagnostics.add('expected', word, fields, `did you mean "${keyword}"?`);
    return { ...word, text: keyword };
  }

  /** Takes that word or symbol, or reports that it is missing. */
  expect(text: string, hint?: string): Token | undefined {
    const found = this.acceptMeant(text);
    if (found) return found;
    this.reportExpected(`"${text}"`, hint);
    return undefined;
  }

  /** Says what should stand here, once for a place. What is missing at a line's end is shown there, not on the next line. */
  reportExpected(expected: string, hint?: string): void {
    if (this.hasComplained) return;
    this.complainedAt = this.at;
    const next = this.peek();
    const behind = this.previous;
    const span = (next.first || next.kind === 'end') && this.at > 0 ? { start: behind.end, end: behind.end } : next;
    this.diagnostics.add('expected', span, { expected, found: describe(next) }, hint);
  }

  /** It was said already what should stand here. */
  get hasComplained(): boolean {
    return this.complainedAt === this.at;
  }

  /** The next token begins a statement: a reserved word, so it can be nothing else. */
  get atStatement(): boolean {
    const { kind, text } = this.peek();
    return kind === 'word' && isOneOf(STATEMENTS, text);
  }

  /** The brace has its closing one, before the file ends or a statement begins that stands in no braces. */
  isClosed(open: Token): boolean {
    this.closed ??= closedBraces(this.tokens);
    return this.closed.has(open);
  }

  /** Steps to the next statement: one that begins its line, or comes behind `;` or `}`. */
  skipToStatement(): void {
    while (!this.atEnd) {
      if (this.atStatement && (this.peek().first || isText(this.previous, ';', '}'))) return;
      this.take();
    }
  }

  /** From a token's start to the end of what was taken last. */
  since(first: Span): Span {
    return { start: first.start, end: Math.max(first.start, this.previous.end) };
  }
}

/** The token is one of these words or symbols (a string that says the same is not). */
export const isText = (token: Token, ...texts: readonly string[]): boolean =>
  (token.kind === 'word' || token.kind === 'symbol') && texts.includes(token.text);

/** In one pass, so that a text of open braces is not searched to its end for each. */
function closedBraces(tokens: readonly Token[]): ReadonlySet<Token> {
  const closed = new Set<Token>();
  let open: Token[] = [];
  for (const token of tokens) {
    if (isText(token, '{')) open.push(token);
    else if (isText(token, '}')) {
      const last = open.pop();
      if (last) closed.add(last);
    } else if (token.kind === 'word' && token.text !== 'queue' && isOneOf(STATEMENTS, token.text)) open = [];
  }
  return closed;
}

export function describe(token: Token): string {
  if (token.kind === 'end') return 'the end of the file';
  return token.kind === 'string' ? `the string "${token.text}"` : `"${token.text}"`;
}
