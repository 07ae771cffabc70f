import { formatAddress, formatPrefix, type Prefix, protocolName } from '../model/index.ts';
import { formatDuration, formatExactRate, formatNumber, formatSize } from './format-value.ts';
import { type Condition, type NumberRange, RATE_WINDOW } from './policy.ts';
import { DAYS } from './vocabulary.ts';

/**
 * Writes a condition in the language, sets spelled out, with no more parentheses than it takes: reading it again
 * gives the same condition. The condition that always holds has no words in the language, and is written as ''.
 */
export const formatCondition = (condition: Condition): string => format(condition, 0);

/** `around` is how tightly the place binds: 0 none, 1 a term of `or`, 2 of `and`, 3 of `for`, 4 of `not`. */
function format(condition: Condition, around: number): string {
  switch (condition.kind) {
    case 'and':
    case 'or': {
      const binds = condition.kind === 'or' ? 1 : 2;
      const text = condition.terms.map((term) => format(term, binds)).join(` ${condition.kind} `);
      // A chain of its own kind keeps its parentheses, so that the tree comes back as it was.
      return around >= binds && condition.terms.length > 1 ? `(${text})` : text;
    }
    case 'not':
      return `not ${format(condition.term, 4)}`;
    case 'held': {
      const text = `${format(condition.term, 3)} for ${formatDuration(condition.for)}`;
      return around >= 3 ? `(${text})` : text;
    }
    case 'protocol': {
      const name = protocolName(condition.protocol);
      return /^\d/.test(name) ? `protocol ${name}` : name;
    }
    default:
      return formatLeaf(condition);
  }
}

function formatLeaf(leaf: Exclude<Condition, { kind: 'and' | 'or' } | { kind: 'not' | 'held' | 'protocol' }>): string {
  switch (leaf.kind) {
    case 'origin':
      return `origin ${leaf.origin}`;
    case 'family':
      return `family ipv${leaf.family}`;
    case 'address':
      return `${leaf.end} in ${formatPrefixes(leaf.prefixes)}`;
    case 'set':
      return `${leaf.end} in ${leaf.set}`;
    case 'port':
      return `${leaf.end}.port in ${formatRanges(leaf.ranges)}`;
    case 'dscp':
    case 'zone':
      return `${leaf.kind} in ${formatRanges(leaf.ranges)}`;
    case 'nat':
      return `nat ${leaf.nat}`;
    case 'device':
    case 'mac':
    case 'helper':
    case 'process':
    case 'unit':
    case 'cgroup':
    case 'domain':
      return `${leaf.kind} ${among(leaf.patterns.map(quote))}`;
    case 'user':
      return `user ${among(leaf.users.map((user) => (typeof user === 'number' ? `${user}` : quote(user))))}`;
    case 'p2p':
      return 'p2p';
    case 'measure': {
      const word = leaf.direction === 'total' ? leaf.measure : `${leaf.measure}.${leaf.direction}`;
      const over =
        leaf.window === undefined || leaf.window === RATE_WINDOW ? '' : ` over ${formatDuration(leaf.window)}`;
      return `${word}${over} ${leaf.operator} ${formatMeasured(leaf)}`;
    }
    case 'tcp.state':
      return `tcp.state ${among(leaf.states)}`;
    case 'count':
      return `count(${leaf.of} by ${leaf.by}) ${leaf.operator} ${formatNumber(leaf.value)}`;
    case 'time':
      return `time in ${list(leaf.ranges.map(formatTimes))}`;
    case 'day':
      return `day in ${list(leaf.days.map((day) => DAYS[day]!))}`;
  }
}

function formatMeasured({ measure, value }: Extract<Condition, { kind: 'measure' }>): string {
  switch (measure) {
    case 'bytes':
    case 'size':
      return formatSize(value);
    case 'rate':
      return formatExactRate(value);
    case 'age':
    case 'idle':
      return formatDuration(value);
    default:
      return formatNumber(value);
  }
}

/** Strings have no escapes, so a name with one kind of quotes in it stands between the other. */
const quote = (text: string): string => (text.includes('"') ? `'${text}'` : `"${text}"`);

/** The last minute is in the range as a value, and the first that is not as it is written. */
const formatTimes = ({ first, last }: NumberRange): string =>
  `${formatMinute(first)}-${formatMinute(last === 1439 ? 1440 : last + 1)}`;

const formatMinute = (minute: number): string =>
  `${String(Math.floor(minute / 60)).padStart(2, '0')}:${String(minute % 60).padStart(2, '0')}`;

export const formatPrefixes = (prefixes: readonly Prefix[]): string =>
  list(prefixes.map((p) => (p.length === p.address.length * 8 ? formatAddress(p.address) : formatPrefix(p))));

export const formatRanges = (ranges: readonly NumberRange[]): string =>
  list(ranges.map(({ first, last }) => (first === last ? `${first}` : `${first}-${last}`)));

/** One value alone, or several in braces. */
const list = (values: readonly string[]): string => (values.length === 1 ? values[0]! : `{ ${values.join(', ')} }`);

/** The same where one value stands without `in`, since that reads better of names. */
const among = (values: readonly string[]): string => (values.length === 1 ? values[0]! : `in ${list(values)}`);
