import { type Cursor, isText } from './cursor.ts';
import type { Token } from './lexer.ts';
import { takeLiteral } from './parse-condition.ts';
import { parseName } from './parse-name.ts';
import type { EffectSyntax, NameSyntax } from './syntax.ts';
import { RESERVED } from './vocabulary.ts';

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
  const word = cursor.peek();
  const next = cursor.peek(1);
  // A queue may be called like an effect.
  const goesOn = next.kind === 'word' && !next.first && !RESERVED.has(next.text);
  if (isText(word, 'add') && goesOn) return parseAdd(cursor);
  if (isText(word, 'mirror') && goesOn) {
    cursor.take();
    cursor.expect('to', 'write mirror to TAP');
    return { kind: 'mirror', tap: takeName(cursor, 'the name of a tap'), ...cursor.since(word) };
  }
  if (isText(word, 'police') && (goesOn || (next.kind === 'literal' && !next.first))) {
    cursor.take();
    return { kind: 'police', rate: takeLiteral(cursor, 'a rate'), ...cursor.since(word) };
  }
  return undefined;
}

function parseAdd(cursor: Cursor): EffectSyntax {
  const word = cursor.take();
  const side = cursor.peek();
  if (cursor.is('local', 'remote')) cursor.take();
  else cursor.reportExpected('"local" or "remote"', 'write add remote to SET for DURATION');
  let set: NameSyntax = { text: undefined, start: side.end, end: side.end };
  if (cursor.expect('to')) set = parseName(cursor, 'the name of a set');
  const time = cursor.expect('for') && takeLiteral(cursor, 'a duration');
  return { kind: 'add', side, set, for: time, ...cursor.since(word) };
}

function takeName(cursor: Cursor, what: string): Token | undefined {
  const { kind, first } = cursor.peek();
  if ((kind === 'word' || kind === 'string') && !first && !cursor.atStatement) return cursor.take();
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
