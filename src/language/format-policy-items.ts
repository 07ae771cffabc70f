import type { Comment, Token, Tokens } from './lexer.ts';
import type { Span } from './source.ts';

/** A comment on a line of its own. */
export interface OwnComment {
  readonly text: string;
  /** An empty line stands before it. */
  readonly blank: boolean;
}

/** A token as the formatter moves it, with the comments that move along. */
export interface Item {
  readonly token: Token;
  /** As written. */
  readonly text: string;
  /** An empty line stands before it (and behind the comments above it). */
  readonly blank: boolean;
  /** Comments on lines of their own before it. */
  readonly above: readonly OwnComment[];
  /** The comment that ends its line. */
  readonly behind: string | undefined;
}

const NONE: readonly OwnComment[] = [];

/** Gives each comment to a token: one that ends a line to the token before it, another to the next token. */
export function attachComments(text: string, { tokens, comments }: Tokens): readonly Item[] {
  const items: Item[] = [];
  let above: OwnComment[] = [];
  let behind: string | undefined;
  let last = 0;
  let at = 0;
  /** Line ends since whatever stood before. */
  const breaks = (next: Span): number => {
    let count = 0;
    for (let i = last; i < next.start; i++) if (text.charCodeAt(i) === 10) count++;
    last = next.end;
    return count;
  };
  const written = (comment: Comment) => comment.text.trimEnd();
  for (const token of tokens) {
    for (; at < comments.length && comments[at]!.start < token.start; at++) {
      const comment = comments[at]!;
      const count = breaks(comment);
      if (count === 0 && items.length > 0) behind = written(comment);
      else above.push({ text: written(comment), blank: count > 1 });
    }
    if (behind !== undefined) items[items.length - 1] = { ...items.at(-1)!, behind };
    items.push({
      token,
      text: text.slice(token.start, token.end),
      blank: breaks(token) > 1,
      above: above.length === 0 ? NONE : above,
      behind: undefined,
    });
    if (above.length > 0) above = [];
    behind = undefined;
  }
  return items;
}
