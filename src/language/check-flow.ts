import {
  type Address,
  COUNT_KEYS,
  type End,
  type FlowFacts,
  familyOf,
  hasPorts,
  ORIGINS,
  PROTOCOLS,
  protocolName,
  sameAddress,
  TCP_STATES,
} from '../model/index.ts';
import { readDay, readMinute } from './check-clock.ts';
import { readNumberedItem, readProtocol } from './check-identity.ts';
import { readWindow } from './check-memory.ts';
import { readName, readUser } from './check-name.ts';
import { checkWord, itemsOf, namedSet } from './check-operand.ts';
import { readAnyRate, readChoice, readDuration, readNumber, readSize, readValue } from './check-value.ts';
import type { Token } from './lexer.ts';
import { resolveLet, type Scope } from './scope.ts';
import type { FactSyntax, FlowSyntax, OperandSyntax } from './syntax.ts';
import { COUNTED, DSCPS, isOneOf, isSubject, SUBJECTS } from './vocabulary.ts';

type Mutable<T> = { -readonly [K in keyof T]: T[K] };
type Facts = Mutable<Partial<FlowFacts>>;

/** What facts of several parts are gathered in until all are read. */
interface Gathered {
  readonly facts: Facts;
  /** By the direction and the window, ms; without one for all windows of which nothing else is said. */
  readonly rates: Map<string, number>;
  readonly counts: Map<string, number>;
  readonly members: { readonly set: string; readonly end: 'local' | 'remote' }[];
}

/** Turns a flow as written into facts; undefined where it has a mistake, which is reported. What is not said is not known. */
export function checkFlow(syntax: FlowSyntax, scope: Scope): FlowFacts | undefined {
  const protocol = syntax.protocol && readProtocol(operandOf(syntax.protocol), scope);
  const opener = syntax.opener && readEnd(syntax.opener, scope);
  const answerer = syntax.answerer && readEnd(syntax.answerer, scope);
  const gathered: Gathered = { facts: {}, rates: new Map(), counts: new Map(), members: [] };
  const seen = new Map<string, Token>();
  let good = true;
  for (const fact of syntax.facts) {
    const { subject } = fact;
    const key = keyOf(fact);
    const first = seen.get(key);
    if (first) {
      const line = scope.sources.lineFrom(subject, first);
      scope.diagnostics.add('duplicate-setting', subject, { setting: key, line });
      good = false;
    } else {
      seen.set(key, subject);
      good = readFact(fact, gathered, scope) && good;
    }
  }
  if (protocol === undefined || !opener || !answerer) return undefined;
  if (familyOf(opener.address) !== familyOf(answerer.address)) {
    scope.diagnostics.add('mixed-families', syntax.answerer!, {});
    return undefined;
  }
  if (!seen.has('origin')) {
    scope.diagnostics.add('no-origin', { start: syntax.end, end: syntax.end }, {});
    return undefined;
  }
  const { origin } = gathered.facts;
  if (!hasParts(protocol, [syntax.opener!, opener], [syntax.answerer!, answerer], seen, scope)) return undefined;
  if (!good || !origin) return undefined;
  const [local, remote] = origin === 'remote' ? [answerer, opener] : [opener, answerer];
  return { ...finish(gathered, local.address, remote.address), origin, protocol, local, remote };
}

/** Reports ports and a TCP state of a flow whose protocol has none. */
function hasParts(
  protocol: number,
  opener: readonly [Token, End],
  answerer: readonly [Token, End],
  seen: ReadonlyMap<string, Token>,
  { diagnostics }: Scope,
): boolean {
  let good = true;
  const report = (token: Token, what: string): void => {
    diagnostics.add('not-of-protocol', token, { protocol: protocolName(protocol), what });
    good = false;
  };
  for (const [token, end] of [opener, answerer])
    if (end.port !== undefined && !hasPorts(protocol)) report(token, 'ports');
  const state = seen.get('tcp.state');
  if (state && protocol !== PROTOCOLS.tcp) report(state, 'TCP state');
  return good;
}

const operandOf = (token: Token): OperandSyntax => ({
  kind: token.kind === 'word' ? 'word' : 'literal',
  token,
  start: token.start,
  end: token.end,
});

const directionOf = (word: string): 'in' | 'out' => (word.endsWith('.in') ? 'in' : 'out');

/** What can be said once of a flow. */
function keyOf({ subject, window, of, by, operand }: FactSyntax): string {
  if (window) return `${subject.text} over ${window.text}`;
  if (of && by) return `count(${of.text} by ${by.text})`;
  const end = subject.text === 'local' || subject.text === 'remote';
  return end && operand.kind === 'word' ? `${subject.text} in ${operand.token.text}` : subject.text;
}

function readEnd(token: Token, { diagnostics }: Scope): End | undefined {
  const literal = readValue(token, ['endpoint', 'address'], 'a flow', 'an address, perhaps with a port', diagnostics);
  if (literal?.type === 'endpoint') return { address: literal.address, port: literal.port };
  if (!literal) return undefined;
  if (!token.text.includes('/')) return { address: literal.prefix.address };
  const fields = { what: 'a flow', expected: 'an address, perhaps with a port', found: token.text, actual: 'a prefix' };
  diagnostics.add('wrong-type', token, fields);
  return undefined;
}

/** Puts a fact where it belongs; false where it has a mistake. */
function readFact(fact: FactSyntax, { facts, rates, counts, members }: Gathered, scope: Scope): boolean {
  const { diagnostics } = scope;
  const { subject } = fact;
  const word = subject.text;
  const operand = isWordly(word) ? fact.operand : resolveLet(fact.operand, scope);
  const token = (): Token | undefined => singleToken(operand, word, scope);
  const put = <K extends keyof Facts>(key: K, value: Facts[K]): boolean => {
    if (value === undefined) return false;
    facts[key] = value;
    return true;
  };
  const read = <T>(reader: (token: Token) => T | undefined): T | undefined => {
    const found = token();
    return found && reader(found);
  };
  const counter = (key: 'bytes' | 'packets', amount: number | undefined): boolean => {
    if (amount === undefined) return false;
    return put(key, { ...facts[key], [directionOf(word)]: amount });
  };
  switch (word) {
    case 'origin':
      return put('origin', checkWord(operand, word, 'an origin', ORIGINS, scope));
    case 'device':
    case 'mac':
    case 'helper':
    case 'process':
    case 'unit':
    case 'cgroup':
      return put(
        word,
        read((found) => readName(found, word, scope)),
      );
    case 'domain': {
      const domains = itemsOf(operand, scope)?.map((item) => {
        const found = singleToken(resolveLet(item, scope), word, scope);
        return found && readName(found, word, scope);
      });
      return domains?.every((domain) => domain !== undefined) === true && put('domains', domains);
    }
    case 'user': {
      const user = readUser(operand, scope);
      // A name alone: the number that no user has.
      return put('user', typeof user === 'string' ? { id: -1, name: user } : user === undefined ? user : { id: user });
    }
    case 'p2p':
      return put('p2p', { holds: true, evidence: [] });
    case 'dscp':
    case 'zone': {
      const most = word === 'dscp' ? 63 : 65535;
      const numbered = {
        what: `a ${word}`,
        expected: `a number from 0 to ${most}`,
        most,
        ...(word === 'dscp' ? { names: DSCPS } : {}),
      };
      const range = readNumberedItem(operand, word, numbered, scope);
      if (range && range.first !== range.last) diagnostics.add('one-value', operand, { operator: word });
      return range?.first === range?.last && put(word, range?.first);
    }
    case 'nat': {
      const nat = checkWord(operand, word, 'a translation', ['source', 'destination', 'both', 'none'], scope);
      return (
        nat !== undefined &&
        put('nat', { source: nat === 'source' || nat === 'both', destination: nat === 'destination' || nat === 'both' })
      );
    }
    case 'bytes.in':
    case 'bytes.out':
      return counter(
        'bytes',
        read((found) => readSize(found, word, diagnostics)),
      );
    case 'packets.in':
    case 'packets.out':
      return counter(
        'packets',
        read((found) => readNumber(found, word, 'a plain number', Number.MAX_SAFE_INTEGER, diagnostics)),
      );
    case 'rate.in':
    case 'rate.out': {
      const window = fact.window && readWindow(fact.window, scope);
      const rate = read((found) => readAnyRate(found, word, diagnostics));
      if (rate === undefined || (fact.window && window === undefined)) return false;
      rates.set(`${directionOf(word)} ${window ?? ''}`, rate);
      return true;
    }
    case 'age':
    case 'idle':
      return put(
        word,
        read((found) => readDuration(found, word, diagnostics, true)),
      );
    case 'held': {
      const held = read((found) => readDuration(found, word, diagnostics, true));
      return held !== undefined && put('held', () => held);
    }
    case 'tcp.state':
      return put('tcpState', checkWord(operand, word, 'a TCP state', TCP_STATES, scope));
    case 'count': {
      const of = fact.of && readChoice(fact.of, 'what is counted', COUNTED, diagnostics);
      const by = fact.by && readChoice(fact.by, 'what can be counted by', COUNT_KEYS, diagnostics);
      const number = read((found) => readNumber(found, word, 'a plain number', Number.MAX_SAFE_INTEGER, diagnostics));
      if (!of || !by || number === undefined) return false;
      counts.set(`${of} ${by}`, number);
      return true;
    }
    case 'time': {
      const minute = read((found) => readMinute(found, scope));
      return minute !== undefined && put('clock', { day: Number.NaN, ...facts.clock, minute: minute % 1440 });
    }
    case 'day': {
      const day = read((found) => readDay(found, scope));
      return day !== undefined && put('clock', { minute: Number.NaN, ...facts.clock, day });
    }
    case 'local':
    case 'remote': {
      const found = token();
      if (!found || !namedSet(word, 'address', found, scope)) return false;
      members.push({ set: found.text, end: word });
      return true;
    }
    default:
      // A word that was complained of where it was read.
      return false;
  }
}

/** Values are words of the language first, and names of constants only then. */
const isWordly = (word: string): boolean =>
  isOneOf(['p2p', 'local', 'remote', 'dscp'], word) || (isSubject(word) && SUBJECTS[word] === 'origin');

function singleToken(operand: OperandSyntax, what: string, { diagnostics }: Scope): Token | undefined {
  if (operand.kind === 'range') diagnostics.add('no-range', operand, { what });
  else if (operand.kind === 'list') diagnostics.add('one-value', operand, { operator: what });
  else if (operand.kind !== 'error') return operand.token;
  return undefined;
}

function finish({ facts, rates, counts, members }: Gathered, local: Address, remote: Address): Facts {
  if (rates.size > 0) {
    const known = (direction: 'in' | 'out', window: number) =>
      rates.get(`${direction} ${window}`) ?? rates.get(`${direction} `);
    facts.rate = (direction, window) => {
      if (direction !== 'total') return known(direction, window);
      const [arriving, leaving] = [known('in', window), known('out', window)];
      return arriving === undefined || leaving === undefined ? undefined : arriving + leaving;
    };
  }
  if (counts.size > 0) facts.count = (of, by) => counts.get(`${of} ${by}`);
  if (members.length > 0) {
    const addresses = { local, remote };
    facts.inSet = (set, address) =>
      members.some((member) => member.set === set && sameAddress(addresses[member.end], address));
  }
  return facts;
}
