import type { Diagnostics } from './diagnostic.ts';
import type { Token } from './lexer.ts';
import type { Source, Span } from './source.ts';
import { isOneOf, STATEMENTS } from './vocabulary.ts';

/** A place in the tokens, and how the parser speaks of it. */
export class Cursor {
  readonly diagnostics: Diagnostics;
  readonly source: Source;
  /** How deep in parentheses and `not`s; kept by the condition parser. */
  depth = 0;
  private readonly tokens: readonly Token[];
  private at = 0;
  private complainedAt = -1;

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

  /** Takes that word or symbol, or reports that it is missing. */
  expect(text: string, hint?: string): Token | undefined {
    if (this.is(text)) return this.take();
    this.reportExpected(`"${text}"`, hint);
    return undefined;
  }

  /** Says what should stand here, once for a place. What is missing at a line's end is shown there, not on the next line. */
  reportExpected(expected: string, hint?: string): void {
    if (this.complainedAt === this.at) return;
    this.complainedAt = this.at;
    const next = this.peek();
    const behind = this.previous;
    const span = (next.first || next.kind === 'end') && this.at > 0 ? { start: behind.end, end: behind.end } : next;
    this.diagnostics.add('expected', span, { expected, found: describe(next) }, hint);
  }

  /** The next token begins a statement: a reserved word, so it can be nothing else. */
  get atStatement(): boolean {
    const { kind, text } = this.peek();
    return kind === 'word' && isOneOf(STATEMENTS, text);
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

export function describe(token: Token): string {
  if (token.kind === 'end') return 'the end of the file';
  return token.kind === 'string' ? `the string "${token.text}"` : `"${token.text}"`;
}
