import { foldLookAlikes, nameOf } from './character.ts';
import type { Diagnostics } from './diagnostic.ts';
import type { Span } from './source.ts';

export type TokenKind = 'word' | 'literal' | 'string' | 'symbol' | 'end';

export interface Token extends Span {
  readonly kind: TokenKind;
  /** What it says: look-alikes folded, foreign operators translated, quotes taken off. */
  readonly text: string;
  /** First on its line. */
  readonly first: boolean;
}

/** A comment as written, with its `#`. */
export interface Comment extends Span {
  readonly text: string;
}

export interface Tokens {
  /** Without comments and blanks; the last is of kind `end`. */
  readonly tokens: readonly Token[];
  readonly comments: readonly Comment[];
}

const MEANT: Readonly<Record<string, string>> = {
  '&&': 'and',
  '∧': 'and',
  '||': 'or',
  '∨': 'or',
  '!': 'not',
  '¬': 'not',
  '==': '=',
  '=>': '->',
  '→': '->',
  '⇒': '->',
  '=<': '<=',
  '≤': '<=',
  '≥': '>=',
  '≠': '!=',
};

/** What comments and strings must not hold: it could show a person another text than the one that is read. */
const HIDING = /[\x00-\x08\x0b-\x1f\x7f-\x9f\u202a-\u202e\u2066-\u2069\ufffd]/g;

/** What to do with a stretch of text of some form. */
type Step = (lexer: Lexer, span: Span) => void;

/** The forms, each sticky and linear, tried in this order at every place of the text; the last fits anything. */
const STEPS: readonly (readonly [RegExp, Step])[] = [
  [/[ \t]+/y, (lexer, span) => lexer.reportLookAlikes(span)],
  [/\r?\n/y, (lexer) => lexer.endLine()],
  [/#[^\n]*/y, (lexer, span) => lexer.pushComment(span)],
  // A number with what hangs on it, an address or a time: begins with a digit, or as an IPv6 address does.
  [/(?:[0-9]|[0-9A-Fa-f]{0,4}:)[0-9A-Za-z_.:/%]*/y, (lexer, span) => lexer.push('literal', span)],
  // The same in brackets, perhaps with a port.
  [/\[[0-9A-Fa-f:.]*\](?::[0-9]+)?/y, (lexer, span) => lexer.push('literal', span)],
  // Ends in no `-`, so that `local->q` is three tokens, and is one token where it has dots: `local.port`.
  [/[\p{L}_][\p{L}\p{M}\p{N}_]*(?:[-.][\p{L}\p{M}\p{N}_]+)*/uy, (lexer, span) => lexer.pushWord(span)],
  [/"[^"\n]*"|'[^'\n]*'/y, (lexer, span) => lexer.pushString(span)],
  [/["'][^\s,{}]*/y, (lexer, span) => lexer.pushUnclosed(span)],
  // A pattern without its quotes.
  [/\*[\p{L}\p{N}_*.-]*/uy, (lexer, span) => lexer.pushPattern(span)],
  [/&&|\|\||==|=>|=<|[→⇒≤≥≠∧∨¬]|!(?!=)/y, (lexer, span) => lexer.pushForeign(span)],
  [/->|<=|>=|!=|[{}()=<>,;%-]/y, (lexer, span) => lexer.push('symbol', span)],
  [
    /\/\/[^\n]*|\/\*[\s\S]*?(?:\*\/|$)/y,
    (lexer, span) => lexer.diagnostics.add('foreign-comment', lexer.place(span), {}),
  ],
  [/[\x00-\x1f\x7f-\x9f]+?(?=[\t\n]|\r\n|[^\x00-\x1f\x7f-\x9f]|$)/y, (lexer, span) => lexer.reportHidden(span)],
  [/[\xad\u200b-\u200f\u2028-\u202e\u2060-\u2069\ufeff]+|\ufffd+/y, (lexer, span) => lexer.reportHidden(span)],
  [/[^\x00-\x7f]+|[\x00-\x7f]/y, (lexer, span) => lexer.reportUnexpected(span)],
];

/**
 * Splits a text into tokens. Reports and steps over what is none; never throws. `base` is added to every place:
 * where the text begins among several files.
 */
export function tokenize(text: string, diagnostics: Diagnostics, base = 0): Tokens {
  const lexer = new Lexer(text, diagnostics, base);
  let at = text.charCodeAt(0) === 0xfeff ? 1 : 0;
  while (at < text.length)
    for (const [pattern, step] of STEPS) {
      pattern.lastIndex = at;
      if (!pattern.test(lexer.folded)) continue;
      step(lexer, { start: at, end: pattern.lastIndex });
      at = pattern.lastIndex;
      break;
    }
  lexer.push('end', { start: text.length, end: text.length });
  return lexer;
}

class Lexer implements Tokens {
  readonly tokens: Token[] = [];
  readonly comments: Comment[] = [];
  readonly diagnostics: Diagnostics;
  /** The text with look-alikes as what they look like: of the same length, so places are the same. */
  readonly folded: string;
  private readonly text: string;
  private readonly base: number;
  private first = true;

  constructor(text: string, diagnostics: Diagnostics, base: number) {
    this.text = text;
    this.base = base;
    this.folded = foldLookAlikes(text);
    this.diagnostics = diagnostics;
  }

  endLine(): void {
    this.first = true;
  }

  push(kind: TokenKind, span: Span): void {
    this.reportLookAlikes(span);
    this.add(kind, span, this.folded.slice(span.start, span.end));
  }

  pushWord(span: Span): void {
    const found = this.folded.slice(span.start, span.end);
    // A name in another script stands as a name, so that it is complained of once.
    const code = this.tokens.at(-1)?.text === 'device' ? 'bad-device' : 'bad-name';
    if (/[^\x00-\x7f]/.test(found))
      this.diagnostics.add(code, this.place(span), { found: this.text.slice(span.start, span.end) });
    else this.reportLookAlikes(span);
    this.add('word', span, found);
  }

  pushString(span: Span): void {
    const { start, end } = span;
    for (const quote of [start, end - 1]) this.reportLookAlikes({ start: quote, end: quote + 1 });
    this.reportHiding(span);
    this.add('string', span, this.text.slice(start + 1, end - 1));
  }

  /** Stands as the string that was meant, so that it is complained of once. */
  pushUnclosed(span: Span): void {
    const { start, end } = span;
    this.diagnostics.add('unclosed-string', this.place({ start, end: start + 1 }), {});
    this.reportHiding(span);
    this.add('string', span, this.text.slice(start + 1, end));
  }

  pushPattern(span: Span): void {
    const found = this.text.slice(span.start, span.end);
    const hint = found.length > 1 ? `write "${found}"` : 'patterns are written in quotes: "*.example.org"';
    this.diagnostics.add('unexpected-character', this.place(span), { found }, hint);
    if (found.length > 1) this.add('string', span, found);
  }

  pushForeign(span: Span): void {
    const found = this.folded.slice(span.start, span.end);
    const meant = MEANT[found]!;
    this.diagnostics.add('foreign-operator', this.place(span), { found, meant });
    this.add(/^[a-z]/.test(meant) ? 'word' : 'symbol', span, meant);
  }

  pushComment({ start, end }: Span): void {
    const text = this.text.slice(start, end).replace(/\r$/, '');
    const span = { start, end: start + text.length };
    this.comments.push({ text, ...this.place(span) });
    this.reportLookAlikes({ start, end: start + 1 });
    this.reportHiding(span);
  }

  reportUnexpected(span: Span): void {
    const found = this.text.slice(span.start, span.end);
    this.diagnostics.add('unexpected-character', this.place(span), { found });
  }

  /** One finding for a word is enough. */
  reportLookAlikes(span: Span): void {
    for (let i = span.start; i < span.end; i++) {
      if (this.text[i] === this.folded[i]) continue;
      const found = this.text.slice(span.start, span.end).trim() || 'a blank';
      const fields = { found, character: nameOf(this.text[i]!), meant: this.folded[i]! };
      this.diagnostics.add('look-alike', this.place({ start: i, end: i + 1 }), fields);
      return;
    }
  }

  reportHidden(span: Span): void {
    const character = this.text[span.start]!;
    const control = /[\x00-\x1f\x7f-\x9f]/.test(character);
    const code = character === '\ufffd' ? 'not-utf8' : control ? 'control-character' : 'invisible-character';
    this.diagnostics.add(code, this.place(span), { character: nameOf(character) });
  }

  private reportHiding(span: Span): void {
    for (const { 0: hidden, index } of this.text.slice(span.start, span.end).matchAll(HIDING))
      this.reportHidden({ start: span.start + index, end: span.start + index + hidden.length });
  }

  private add(kind: TokenKind, span: Span, text: string): void {
    const { start, end } = span;
    this.tokens.push({ kind, text, first: this.first, start: this.base + start, end: this.base + end });
    this.first = false;
  }

  /** Where a stretch of this text is among all files. */
  place({ start, end }: Span): Span {
    return { start: this.base + start, end: this.base + end };
  }
}
