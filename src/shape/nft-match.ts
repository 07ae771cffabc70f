import type { NumberRange } from '../language/index.ts';
import { type Family, formatAddress, formatPrefix, type Prefix } from '../model/index.ts';
import type { Conjunction } from './nft-conjunction.ts';
import { complement, FIELDS, type Field, type Place } from './nft-formula.ts';

/** Prefixes that stand in a rule itself; more of them make a set with a name, which other rules use too. */
const INLINE_PREFIXES = 8;

/** Named sets of a table. Equal ones are made once. */
export class NftSets {
  readonly #prefix: string;
  readonly #byText = new Map<string, string>();
  readonly #byValue = new Map<readonly Prefix[], string>();
  readonly #lines: string[] = [];

  /** @param prefix begins each name; nobody else in the table may use it */
  constructor(prefix = 'addresses') {
    this.#prefix = prefix;
  }

  /** The declarations, for the table. */
  get lines(): readonly string[] {
    return this.#lines;
  }

  /** Name of the set of these prefixes, all of one family. */
  nameOf(prefixes: readonly Prefix[], family: Family): string {
    let name = this.#byValue.get(prefixes);
    if (name !== undefined) return name;
    const elements = prefixes.map(spellPrefix).join(', ');
    name = this.#byText.get(elements);
    if (name === undefined) {
      name = `${this.#prefix}-${this.#byText.size + 1}`;
      this.#byText.set(elements, name);
      this.#lines.push(`set ${name} {`, `  type ${family === 4 ? 'ipv4_addr' : 'ipv6_addr'}`);
      this.#lines.push('  flags interval', `  elements = { ${elements} }`, '}');
    }
    this.#byValue.set(prefixes, name);
    return name;
  }
}

/**
 * A conjunction as nft writes it, for the flows of one place: '' where it asks nothing.
 *
 * The ends are those of the entry's two tuples, so NAT is undone: who opened the flow is the source of the original
 * direction, who answers it that of the reply (nft(8), CONNTRACK EXPRESSIONS).
 */
export function formatMatches({ numbers, others }: Conjunction, place: Place, sets: NftSets): string {
  const direction = (end: 'local' | 'remote') => (end === place.origin ? 'original' : 'reply');
  const subjects: Readonly<Record<Field, string>> = {
    protocol: 'meta l4proto',
    localPort: `ct ${direction('local')} proto-src`,
    remotePort: `ct ${direction('remote')} proto-src`,
    dscp: place.family === 4 ? 'ip dscp' : 'ip6 dscp',
    zone: 'ct zone',
  };
  const fields = Object.keys(FIELDS) as Field[];
  const parts = fields.flatMap((field) => {
    const ranges = numbers.get(field);
    return ranges ? `${subjects[field]} ${formatRanges(field, ranges)}` : [];
  });
  for (const match of others) {
    if (match.kind === 'flag') parts.push(match.negated ? match.no : match.yes);
    else {
      const subject = `ct ${direction(match.end)} ${place.family === 4 ? 'ip' : 'ip6'} saddr`;
      parts.push(`${subject}${match.negated ? ' !=' : ''} ${formatPrefixes(match.prefixes, place.family, sets)}`);
    }
  }
  return parts.join(' ');
}

/** The shorter of what it is and what it is not. */
function formatRanges(field: Field, ranges: readonly NumberRange[]): string {
  const rest = complement(field, ranges);
  const spell = field === 'protocol' ? spellProtocols : spellRange;
  return rest.length < ranges.length ? `!= ${formatList(rest.map(spell))}` : formatList(ranges.map(spell));
}

/** Those that nft knows by name whatever /etc/protocols says (nft(8), INET_PROTO TYPE). */
const PROTOCOL_NAMES: ReadonlyMap<number, string> = new Map([
  [1, 'icmp'],
  [6, 'tcp'],
  [17, 'udp'],
  [33, 'dccp'],
  [50, 'esp'],
  [58, 'icmpv6'],
  [132, 'sctp'],
  [136, 'udplite'],
]);

const spellProtocols = (range: NumberRange): string =>
  (range.first === range.last && PROTOCOL_NAMES.get(range.first)) || spellRange(range);

const formatPrefixes = (prefixes: readonly Prefix[], family: Family, sets: NftSets): string =>
  prefixes.length > INLINE_PREFIXES ? `@${sets.nameOf(prefixes, family)}` : formatList(prefixes.map(spellPrefix));

const formatList = (values: readonly string[]): string =>
  values.length === 1 ? values[0]! : `{ ${values.join(', ')} }`;

const spellRange = ({ first, last }: NumberRange): string => (first === last ? `${first}` : `${first}-${last}`);

const spellPrefix = (prefix: Prefix): string =>
  prefix.length === prefix.address.length * 8 ? formatAddress(prefix.address) : formatPrefix(prefix);
