import { type Cursor, isText } from './cursor.ts';
import type { Token } from './lexer.ts';
import { takeLiteral } from './parse-condition.ts';
import { parseName } from './parse-name.ts';
import type { EffectSyntax, NameSyntax } from './syntax.ts';
import { EFFECTS, RESERVED } from './vocabulary.ts';

export interface ActionsSyntax {
  readonly queue?: NameSyntax | undefined;
  readonly effects: readonly EffectSyntax[];
}

/** Reads `-> ACTION, ACTION ...`: a queue, or one of the other effects, each behind a comma. */
export function parseActions(cursor: Cursor): ActionsSyntax {
  const behind = (): NameSyntax => ({ text: undefined, start: cursor.previous.end, end: cursor.previous.end });
  const arrow = cursor.expect('->');
  if (!arrow && !(cursor.peek().kind === 'word' && !cursor.peek().first)) return { queue: behind(), effects: [] };
  let queue: NameSyntax | undefined;
  const effects: EffectSyntax[] = [];
  for (;;) {
    const effect = parseEffect(cursor);
    if (effect) effects.push(effect);
    else {
      const name = parseTarget(cursor);
      if (queue && name.text !== undefined) cursor.diagnostics.add('two-queues', name, { name: name.text });
      queue ??= name;
    }
    if (cursor.is('and') || (cursor.is('->') && !cursor.peek().first)) {
      cursor.reportExpected('","', 'what a rule does is separated by commas');
      cursor.take();
      continue;
    }
    if (!cursor.accept(',')) return { queue, effects };
  }
}

function parseEffect(cursor: Cursor): EffectSyntax | undefined {
  const { kind, text } = cursor.peek(1);
  // A queue may be called like an effect, but no such thing comes behind one.
  if (kind !== 'literal' && (kind !== 'word' || RESERVED.has(text))) return undefined;
  for (const effect of EFFECTS) {
    const word = cursor.acceptMeant(effect, EFFECTS);
    if (word) return EFFECT_PARSERS[effect](cursor, word);
  }
  return undefined;
}

const EFFECT_PARSERS: Record<(typeof EFFECTS)[number], (cursor: Cursor, word: Token) => EffectSyntax> = {
  add: parseAdd,
  mirror: (cursor, word) => {
    cursor.expect('to', 'write mirror to TAP');
    return { kind: 'mirror', tap: takeName(cursor, 'the name of a tap'), ...cursor.since(word) };
  },
  police: (cursor, word) => ({ kind: 'police', rate: takeLiteral(cursor, 'a rate'), ...cursor.since(word) }),
};

function parseAdd(cursor: Cursor, word: Token): EffectSyntax {
  const next = cursor.peek();
  const side = cursor.acceptMeant('local', ['remote']) ?? cursor.acceptMeant('remote', ['local']);
  if (!side) cursor.reportExpected('"local" or "remote"', 'write add remote to SET for DURATION');
  let set: NameSyntax = { text: undefined, start: next.end, end: next.end };
  if (cursor.expect('to')) set = parseName(cursor, 'the name of a set');
  const time = cursor.expect('for') && takeLiteral(cursor, 'a duration');
  return { kind: 'add', side: side ?? next, set, for: time, ...cursor.since(word) };
}

function takeName(cursor: Cursor, what: string): Token | undefined {
  const { kind } = cursor.peek();
  if ((kind === 'word' || kind === 'string') && !cursor.atStatement) return cursor.take();
  cursor.reportExpected(what);
  return undefined;
}

/** The queue behind an arrow. */
export function parseTarget(cursor: Cursor): NameSyntax {
  const name = cursor.peek(1);
  if (
    cursor.is('queue') &&
    !cursor.peek().first &&
    name.kind === 'word' &&
    !name.first &&
    !isText(cursor.peek(2), '{')
  ) {
    cursor.reportExpected('the name of a queue', 'leave out the word "queue"');
    cursor.take();
  }
  return parseName(cursor, 'the name of a queue');
}
