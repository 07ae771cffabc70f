import { COUNT_KEYS } from '../model/index.ts';
import { isText } from './cursor.ts';
import type { Token } from './lexer.ts';
import { COUNTED, isBareWord, isSubject, type Subject } from './vocabulary.ts';

/** What can stand at a place in a policy. */
export type Place =
  /** Nothing that is known beforehand. */
  | { readonly kind: 'none' }
  | { readonly kind: 'statement' }
  /** The path of a file. */
  | { readonly kind: 'file' }
  | { readonly kind: 'origin' }
  | { readonly kind: 'protocol' }
  | { readonly kind: 'condition' }
  /** A queue, or something else that a rule does. */
  | { readonly kind: 'action' }
  /** The name of one. */
  | { readonly kind: 'queue' | 'set' | 'link' }
  /** One of these words or signs. */
  | { readonly kind: 'words'; readonly words: readonly string[] }
  /** A key in a block, or one of these words, with which the setting before it may go on. */
  | { readonly kind: 'setting'; readonly block: 'link' | 'queue'; readonly more?: readonly string[] }
  | { readonly kind: 'value'; readonly key: string }
  /** Behind what is looked at: an operator, or at once a value. */
  | { readonly kind: 'operator'; readonly subject: Subject }
  | { readonly kind: 'operand'; readonly subject: Subject }
  /** What is known of a flow, behind its ends in an `expect`. */
  | { readonly kind: 'fact' };

/** What a rule's parser would remember. */
interface Walk {
  subject: Subject;
  /** In braces. */
  list: boolean;
  /** Behind `until`. */
  until: boolean;
}

interface State {
  readonly place: (walk: Walk) => Place;
  /** The state behind the token. */
  readonly next: (token: Token, walk: Walk) => StateName;
}

const none = (): Place => ({ kind: 'none' });
const words =
  (...list: readonly string[]) =>
  (): Place => ({ kind: 'words', words: list });
/** One token of any kind, and then that state. */
const step = (place: () => Place, next: StateName): State => ({ place, next: () => next });

type StateName =
  | 'head'
  | 'condition'
  | 'joint'
  | 'time'
  | `count${1 | 2 | 3 | 4 | 5}`
  | 'window'
  | 'operator'
  | 'notIn'
  | 'operand'
  | 'item'
  | 'rangeEnd'
  | 'action'
  | 'acted'
  | `add${1 | 2 | 3 | 4 | 5}`
  | 'mirror'
  | 'tap'
  | 'rate';

/** The parser of `when COND -> ACTION, ACTION until COND` as a table: it must not stumble over what is not there yet. */
const STATES: Readonly<Record<StateName, State>> = {
  head: { place: words('when', '->'), next: (token) => (isText(token, '->') ? 'action' : 'condition') },

  condition: {
    place: () => ({ kind: 'condition' }),
    next: (token, walk) => {
      if (isText(token, '(', 'not')) return 'condition';
      if (token.kind !== 'word' || isBareWord(token.text) || !isSubject(token.text)) return 'joint';
      walk.subject = token.text;
      return token.text === 'count' ? 'count1' : 'operator';
    },
  },
  joint: {
    place: ({ until }) => ({ kind: 'words', words: until ? ['and', 'or', 'for'] : ['and', 'or', 'for', '->'] }),
    next: (token) => (isText(token, 'and', 'or', '(', 'not') ? 'condition' : isText(token, 'for') ? 'time' : 'joint'),
  },
  time: step(none, 'joint'),

  count1: step(words('('), 'count2'),
  count2: step(words(...COUNTED), 'count3'),
  count3: step(words('by'), 'count4'),
  count4: step(words(...COUNT_KEYS), 'count5'),
  count5: step(words(')'), 'operator'),
  window: step(none, 'operator'),

  operator: {
    place: ({ subject }) => ({ kind: 'operator', subject }),
    next: (token, walk) => {
      if (isText(token, 'over')) return 'window';
      if (isText(token, 'not')) return 'notIn';
      if (isText(token, 'in', '=', '!=', '<', '<=', '>', '>=')) return 'operand';
      return STATES.operand.next(token, walk);
    },
  },
  notIn: step(words('in'), 'operand'),
  operand: {
    place: ({ subject }) => ({ kind: 'operand', subject }),
    next: (token, walk) => {
      if (isText(token, '{')) walk.list = true;
      else if (isText(token, '}')) walk.list = false;
      else return walk.list ? 'item' : 'joint';
      return walk.list ? 'operand' : 'joint';
    },
  },
  item: {
    place: words(',', '}'),
    next: (token, walk) => {
      if (isText(token, '-')) return 'rangeEnd';
      return isText(token, '}') ? STATES.operand.next(token, walk) : isText(token, ',') ? 'operand' : 'item';
    },
  },
  rangeEnd: step(none, 'item'),

  action: {
    place: () => ({ kind: 'action' }),
    next: (token) =>
      isText(token, 'add') ? 'add1' : isText(token, 'mirror') ? 'mirror' : isText(token, 'police') ? 'rate' : 'acted',
  },
  acted: { place: words(',', 'until'), next: (token) => (isText(token, ',') ? 'action' : 'acted') },
  add1: step(words('local', 'remote'), 'add2'),
  add2: step(words('to'), 'add3'),
  add3: step(() => ({ kind: 'set' }), 'add4'),
  add4: step(words('for'), 'add5'),
  add5: step(none, 'acted'),
  mirror: step(words('to'), 'tap'),
  tap: step(none, 'acted'),
  rate: step(none, 'acted'),
};

/** The place behind these tokens, the beginning of what comes behind a rule's name. */
export function placeInRule(tokens: readonly Token[]): Place {
  const walk: Walk = { subject: 'origin', list: false, until: false };
  let state: StateName = 'head';
  for (const token of tokens) {
    // Words that can stand at one place only lead there, whatever was before.
    if (isText(token, '->')) state = 'action';
    else if (isText(token, 'until', 'when')) {
      walk.until = token.text === 'until';
      state = 'condition';
    } else state = STATES[state].next(token, walk);
    if (state === 'condition') walk.list = false;
  }
  return STATES[state].place(walk);
}
