import { Diagnostics } from './diagnostic.ts';
import { tokenize } from './lexer.ts';
import { Source } from './source.ts';

/** A piece of a policy as a message quotes it: on one line, and without its comments. */
export function oneLine(text: string): string {
  const { comments } = tokenize(text, new Diagnostics(new Source(text, '')));
  const rest = comments.reduceRight((left, { start, end }) => left.slice(0, start) + left.slice(end), text);
  return rest.trim().replace(/\s+/g, ' ');
}
