import type { Condition, NumberRange } from '../language/index.ts';
import { type Family, PROTOCOLS, type Prefix } from '../model/index.ts';

/** Which flows a chain is for: by the direction of their first packet, and their family. */
export interface Place {
  readonly origin: 'local' | 'remote';
  readonly family: Family;
}

/** What nft reads as a number, with its least and greatest value. */
export const FIELDS = {
  protocol: { first: 0, last: 255 },
  localPort: { first: 0, last: 65_535 },
  remotePort: { first: 0, last: 65_535 },
  dscp: { first: 0, last: 63 },
  zone: { first: 0, last: 65_535 },
} as const;
export type Field = keyof typeof FIELDS;

/** One look at a packet or its entry. `ranges` are sorted and apart, and neither empty nor all there is. */
export type Match =
  | { readonly kind: 'number'; readonly field: Field; readonly ranges: readonly NumberRange[] }
  | {
      readonly kind: 'address';
      readonly end: 'local' | 'remote';
      readonly prefixes: readonly Prefix[];
      readonly negated: boolean;
    }
  /** Anything else, as nft writes it, and as it writes that it is not so. `opening`: only a flow's first packet shows it. */
  | {
      readonly kind: 'flag';
      readonly yes: string;
      readonly no: string;
      readonly negated: boolean;
      readonly opening: boolean;
    };

/** A condition for one place: what the place settles is settled, and `not` stands nowhere but in matches. */
export type Formula =
  | boolean
  | Match
  | { readonly kind: 'and'; readonly terms: readonly Formula[] }
  | { readonly kind: 'or'; readonly terms: readonly Formula[] };

/**
 * Protocols that conntrack tells ports of; in an entry of others, their place holds something else. No port is looked at
 * without looking for these first, also because nft reads no number there unless it knows the protocol.
 */
const PORTED: readonly NumberRange[] = [PROTOCOLS.tcp, PROTOCOLS.udp, 33, PROTOCOLS.sctp, 136].map((protocol) => ({
  first: protocol,
  last: protocol,
}));

/** Names that can stand in quotes, with at most one `*`, at the end. */
const DEVICE = /^[^\s"*\\]{1,15}\*?$/;
const MAC = /^[0-9a-f]{2}(:[0-9a-f]{2}){5}$/;

/** The condition as a formula for a place; undefined where it has a word that nft has none for. */
export function formulaOf(condition: Condition, place: Place): Formula | undefined {
  switch (condition.kind) {
    case 'and':
    case 'or': {
      const terms = condition.terms.map((term) => formulaOf(term, place));
      return terms.every((term) => term !== undefined) ? join(condition.kind, terms) : undefined;
    }
    case 'not': {
      const term = formulaOf(condition.term, place);
      return term === undefined ? undefined : negate(term);
    }
    case 'origin':
      return condition.origin === place.origin;
    case 'family':
      return condition.family === place.family;
    case 'protocol':
      return numberMatch('protocol', [{ first: condition.protocol, last: condition.protocol }]);
    case 'address': {
      const { prefixes, all } = split(condition.prefixes)[place.family];
      return all || (prefixes.length > 0 && { kind: 'address', end: condition.end, prefixes, negated: false });
    }
    case 'port':
      return portMatch(`${condition.end}Port`, condition.ranges);
    case 'dscp':
    case 'zone':
      return numberMatch(condition.kind, condition.ranges);
    case 'nat': {
      const [source, destination] = [
        flag('ct status snat', 'ct status & snat == 0'),
        flag('ct status dnat', 'ct status & dnat == 0'),
      ];
      if (condition.nat === 'any') return join('or', [source, destination]);
      return condition.nat === 'source' ? source : destination;
    }
    case 'device':
      return anyOf(condition.patterns, (name) => (DEVICE.test(name) ? deviceFlag(name, place) : undefined));
    case 'mac':
      return anyOf(condition.patterns, (name) => (MAC.test(name) ? macFormula(name, place) : undefined));
    default:
      return undefined;
  }
}

interface OneFamily {
  readonly prefixes: readonly Prefix[];
  /** They are all there is. */
  readonly all: boolean;
}
type Split = Readonly<Record<Family, OneFamily>>;

/** Rules share the values of the sets that they name: split once, they go on sharing. */
const splits = new WeakMap<readonly Prefix[], Split>();

function split(prefixes: readonly Prefix[]): Split {
  let made = splits.get(prefixes);
  if (!made) {
    const only = (bytes: number): OneFamily => {
      const some = prefixes.filter(({ address }) => address.length === bytes);
      return { prefixes: some, all: some.some(({ length }) => length === 0) };
    };
    made = { 4: only(4), 6: only(16) };
    splits.set(prefixes, made);
  }
  return made;
}

const flag = (yes: string, no: string, opening = false): Formula => ({
  kind: 'flag',
  yes,
  no,
  negated: false,
  opening,
});

function anyOf(patterns: readonly string[], formula: (pattern: string) => Formula | undefined): Formula | undefined {
  const terms = patterns.map(formula);
  return terms.every((term) => term !== undefined) ? join('or', terms) : undefined;
}

/** Where the flow comes from, or goes to, on the inside. The box itself is behind no device: its name is '' then. */
function deviceFlag(name: string, { origin }: Place): Formula {
  const device = origin === 'local' ? 'iifname' : 'oifname';
  return flag(`${device} "${name}"`, `${device} != "${name}"`, true);
}

/** The inside host's address is in the first packet where that host opened the flow, and came over Ethernet. */
function macFormula(address: string, { origin }: Place): Formula {
  if (origin === 'remote') return false;
  // A match breaks off a rule where it has nothing to look at, whichever way it asks: so that is asked first.
  return join('and', [
    flag('iif != 0', 'iif 0', true),
    flag('iiftype ether', 'iiftype != ether', true),
    flag(`ether saddr ${address}`, `ether saddr != ${address}`, true),
  ]);
}

export function negate(formula: Formula): Formula {
  if (typeof formula === 'boolean') return !formula;
  switch (formula.kind) {
    case 'and':
    case 'or':
      return join(formula.kind === 'and' ? 'or' : 'and', formula.terms.map(negate));
    case 'number': {
      const { field } = formula;
      const rest = complement(field, formula.ranges);
      if (field !== 'localPort' && field !== 'remotePort') return numberMatch(field, rest);
      return join('or', [numberMatch('protocol', complement('protocol', PORTED)), portMatch(field, rest)]);
    }
    default:
      return { ...formula, negated: !formula.negated };
  }
}

const portMatch = (field: 'localPort' | 'remotePort', ranges: readonly NumberRange[]): Formula =>
  join('and', [numberMatch('protocol', PORTED), numberMatch(field, ranges)]);

/** `and` or `or` of terms, without those that say nothing. */
export function join(kind: 'and' | 'or', terms: readonly Formula[]): Formula {
  const rest: Formula[] = [];
  for (const term of terms) {
    if (typeof term === 'boolean') {
      if (term === (kind === 'or')) return term;
    } else if (term.kind === kind) rest.push(...term.terms);
    else rest.push(term);
  }
  if (rest.length === 0) return kind === 'and';
  return rest.length === 1 ? rest[0]! : { kind, terms: rest };
}

/** True or false where the ranges are all there is, or nothing. */
export function numberMatch(field: Field, ranges: readonly NumberRange[]): boolean | Match {
  const whole = unite(ranges);
  const { first, last } = FIELDS[field];
  if (whole.length === 0) return false;
  if (whole[0]!.first <= first && whole[0]!.last >= last) return true;
  return { kind: 'number', field, ranges: whole };
}

/** The numbers of the field that are in none of the ranges, which are sorted and apart. */
export function complement(field: Field, ranges: readonly NumberRange[]): readonly NumberRange[] {
  const result: NumberRange[] = [];
  let { first } = FIELDS[field] as NumberRange;
  for (const range of ranges) {
    if (range.first > first) result.push({ first, last: range.first - 1 });
    first = range.last + 1;
  }
  if (first <= FIELDS[field].last) result.push({ first, last: FIELDS[field].last });
  return result;
}

export function unite(ranges: readonly NumberRange[]): readonly NumberRange[] {
  const result: NumberRange[] = [];
  for (const range of ranges.toSorted((a, b) => a.first - b.first)) {
    const last = result.at(-1);
    if (last && range.first <= last.last + 1)
      result[result.length - 1] = { first: last.first, last: Math.max(last.last, range.last) };
    else result.push(range);
  }
  return result;
}

export function intersect(a: readonly NumberRange[], b: readonly NumberRange[]): readonly NumberRange[] {
  const result: NumberRange[] = [];
  for (let i = 0, j = 0; i < a.length && j < b.length; ) {
    const first = Math.max(a[i]!.first, b[j]!.first);
    const last = Math.min(a[i]!.last, b[j]!.last);
    if (first <= last) result.push({ first, last });
    if (a[i]!.last < b[j]!.last) i++;
    else j++;
  }
  return result;
}
