import { isText } from './cursor.ts';
import type { Token } from './lexer.ts';
import { type Place, placeInRule } from './service-place-rule.ts';
import type { StatementKind } from './vocabulary.ts';
import { isOneOf, isSubject, LINK_LAYERS, SETTINGS, STATEMENTS } from './vocabulary.ts';

const none: Place = { kind: 'none' };
const words = (...list: string[]): Place => ({ kind: 'words', words: list });

/** What can stand behind these tokens, the beginning of a file. */
export function placeBehind(tokens: readonly Token[]): Place {
  const blocks: ('link' | 'queue')[] = [];
  /** Since the keyword of the statement, or the key of the setting. */
  let part: Token[] = [];
  for (const token of tokens) {
    const block = blocks.at(-1);
    const inBlock = block !== undefined && part[0]?.text !== 'queue';
    if (token.kind === 'word' && isOneOf(STATEMENTS, token.text)) {
      if (!(token.text === 'queue' && block === 'queue')) blocks.length = 0;
      part = [token];
    } else if (isText(token, '{') && part[0] && isText(part[0], 'link', 'queue')) {
      blocks.push(part[0].text as 'link' | 'queue');
      part = [];
    } else if (block && isText(token, '}')) {
      blocks.pop();
      part = [];
    } else if (isText(token, ';') || (inBlock && isText(token, ','))) part = [];
    else if (inBlock && isOneOf<string>(SETTINGS[block], token.text) && part.length > 1 && !leads(part)) part = [token];
    else part.push(token);
  }
  const block = blocks.at(-1);
  const first = part[0];
  if (block && !(first && isText(first, 'queue'))) return inSetting(block, part);
  if (!first) return { kind: 'statement' };
  return first.kind === 'word' && isOneOf(STATEMENTS, first.text) ? IN_STATEMENT[first.text](part) : none;
}

const leads = (part: readonly Token[]): boolean => isText(part.at(-1)!, 'with', 'by', 'per', 'mpu', 'tree');

function inSetting(block: 'link' | 'queue', part: readonly Token[]): Place {
  const key = part[0]?.text;
  if (key === undefined) return { kind: 'setting', block };
  const last = part.at(-1)!;
  if (block === 'link' && key === 'share')
    return [words('tree'), words('with'), { kind: 'link' } as const][part.length - 1] ?? { kind: 'setting', block };
  const joint = key === 'fair' ? 'by' : key === 'ifb' ? 'per' : undefined;
  if (joint !== undefined && part.length === 1) return words(joint);
  if (part.length === 1 || (joint !== undefined && part.length === 2)) return { kind: 'value', key };
  if (key !== 'overhead') return { kind: 'setting', block };
  return isText(last, 'mpu', '-') ? none : { kind: 'setting', block, more: ['mpu', ...LINK_LAYERS] };
}

/** A name, a sign, and what comes then. */
const named =
  (sign: string, rest: (part: readonly Token[]) => Place) =>
  (part: readonly Token[]): Place =>
    part.length === 1 ? none : part.length === 2 ? words(sign) : rest(part);

const IN_STATEMENT: Record<StatementKind, (part: readonly Token[]) => Place> = {
  link: named('{', () => none),
  queue: named('{', () => none),
  set: named('=', () => none),
  let: named('=', () => none),
  include: (part) => (part.length === 1 ? { kind: 'file' } : { kind: 'statement' }),
  marks: () => none,
  default: inDefault,
  expect: inExpect,
  rule: (part) => {
    if (part.length === 1) return none;
    return placeInRule(part.slice(2));
  },
};

function inDefault(part: readonly Token[]): Place {
  const last = part.at(-1)!;
  if (isText(last, '->')) return { kind: 'queue' };
  return part.length === 1 || isText(last, ',') || isText(part.at(-2)!, '->') ? { kind: 'origin' } : words('->');
}

function inExpect(part: readonly Token[]): Place {
  const arrow = part.findIndex((token) => isText(token, '->'));
  if (part.length === 1) return { kind: 'protocol' };
  if (arrow < 0) return part.length === 2 ? none : words('->');
  if (part.length === arrow + 1) return none;
  const last = part.at(-1)!;
  /** `local` or `remote` there is an end, and not an origin. */
  const isEnd = (at: number) => isText(part.at(at)!, 'local', 'remote') && !isText(part.at(at - 1)!, 'origin');
  if (isText(last, 'in')) return isEnd(-2) ? { kind: 'set' } : { kind: 'queue' };
  if (isText(part.at(-2)!, 'in') && !isEnd(-3)) return { kind: 'statement' };
  if (isEnd(-1)) return words('in');
  if (last.kind === 'word' && isSubject(last.text) && !isText(part.at(-2)!, 'origin'))
    return { kind: 'operand', subject: last.text };
  return { kind: 'fact' };
}
