import { type Cursor, isText } from './cursor.ts';
import type { NameSyntax } from './syntax.ts';
import { RESERVED } from './vocabulary.ts';

/** Longest name. */
const MAX_NAME = 63;

/** Reads a name; `what` is how a message calls one that is missing. */
export function parseName(cursor: Cursor, what: string): NameSyntax {
  const token = cursor.peek();
  const missing = () => {
    cursor.reportExpected(what);
    return { text: undefined, start: token.start, end: token.start };
  };
  if (token.kind === 'symbol' || token.kind === 'end') return missing();
  const reserved = token.kind === 'word' && RESERVED.has(token.text);
  // `set for = ...` gives a name that cannot be; `rule when ...` gives none.
  const meant = cursor.atStatement || isText(cursor.peek(1), 'when', '{', '=');
  if (reserved && (token.first || !meant)) return missing();
  cursor.take();
  const { start, end } = token;
  // Names in other scripts were reported by the lexer.
  const good = /^[\p{L}][\p{L}\p{M}\p{N}_-]*$/u.test(token.text) && token.text.length <= MAX_NAME;
  if (reserved) cursor.diagnostics.add('reserved-name', token, { found: token.text });
  else if (token.kind === 'string') {
    const hint = good ? `write ${token.text} without quotes` : undefined;
    cursor.diagnostics.add('bad-name', token, { found: token.text }, hint);
  } else if (!good) cursor.diagnostics.add('bad-name', token, { found: token.text });
  return { text: good && !reserved ? token.text : undefined, start, end };
}
