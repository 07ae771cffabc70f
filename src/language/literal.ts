import {
  type Address,
  maskAddress,
  type Prefix,
  parseAddress,
  parsePrefix,
  parseRate,
  RATE_UNITS,
  type Rate,
  sameAddress,
} from '../model/index.ts';
import { didYouMean } from './nearest.ts';

/** A value as written, with its type. */
export type Literal =
  | { readonly type: 'number'; readonly number: number }
  | { readonly type: 'percentage'; readonly percent: number }
  | { readonly type: 'rate'; readonly rate: Rate }
  /** Bytes. */
  | { readonly type: 'size'; readonly bytes: number }
  /** Milliseconds. */
  | { readonly type: 'duration'; readonly ms: number }
  /** `hostBits`: bits behind the prefix are set; they are cleared in `prefix`. */
  | { readonly type: 'address'; readonly prefix: Prefix; readonly hostBits: boolean }
  | { readonly type: 'endpoint'; readonly address: Address; readonly port?: number | undefined }
  /** Lower case, with colons. */
  | { readonly type: 'mac'; readonly mac: string }
  /** Minutes since midnight. */
  | { readonly type: 'time'; readonly minutes: number };

export type LiteralType = Literal['type'];

/** What is wrong with a text that is no value: a code of the catalogue with its fields. */
export type LiteralProblem =
  | {
      readonly type: 'problem';
      readonly code: 'unknown-unit';
      readonly unit: string;
      readonly hint?: string | undefined;
    }
  | { readonly type: 'problem'; readonly code: 'bad-address'; readonly why: string; readonly hint?: string | undefined }
  | { readonly type: 'problem'; readonly code: 'bad-value'; readonly hint?: string | undefined };

/** How a message speaks of a type. */
export const TYPE_NAMES: Readonly<Record<LiteralType, string>> = {
  number: 'a plain number',
  percentage: 'a percentage',
  rate: 'a rate',
  size: 'an amount of bytes',
  duration: 'a duration',
  address: 'an address',
  endpoint: 'an address with a port',
  mac: 'a hardware address',
  time: 'a time of day',
};

const SIZES: Readonly<Record<string, number>> = {
  B: 1,
  kB: 1e3,
  KB: 1e3,
  MB: 1e6,
  GB: 1e9,
  TB: 1e12,
  KiB: 2 ** 10,
  MiB: 2 ** 20,
  GiB: 2 ** 30,
  TiB: 2 ** 40,
};

const DURATIONS: Readonly<Record<string, number>> = {
  ms: 1,
  s: 1000,
  m: 60_000,
  min: 60_000,
  h: 3_600_000,
  d: 86_400_000,
};

/** How people write rates elsewhere. `Mb` and `MB` differ by a factor of eight. */
const FOREIGN_UNITS: Readonly<Record<string, string>> = {
  k: 'kbit',
  K: 'kbit',
  kb: 'kbit',
  Kb: 'kbit',
  mb: 'mbit',
  Mb: 'mbit',
  M: 'mbit',
  gb: 'gbit',
  Gb: 'gbit',
  G: 'gbit',
};

/** Units of amounts and durations as they are written; those of rates are {@link RATE_UNITS}, and `kB/s`, `MiB/s`... */
export const UNITS: readonly string[] = [...RATE_UNITS, ...Object.keys(SIZES), ...Object.keys(DURATIONS)];

/** Units of a number that stands alone before it: `100 mbit`. */
export const isUnit = (word: string): boolean =>
  UNITS.includes(word) || RATE_UNITS.includes(word.toLowerCase()) || word in FOREIGN_UNITS;

/** Reads a value; one that cannot be read says why. */
export function readLiteral(text: string): Literal | LiteralProblem {
  if (/^\d+(\.\d+)?$/.test(text)) return { type: 'number', number: Number(text) };
  if (/^\d+(\.\d+)?%$/.test(text)) return { type: 'percentage', percent: Number(text.slice(0, -1)) };
  if (/^\d{1,2}:\d{2}$/.test(text)) return readTime(text);
  if (text.startsWith('[') || /^\d+(\.\d+){3}:\d+$/.test(text)) return readEndpoint(text);
  if (/^[0-9A-Fa-f]{2}(:[0-9A-Fa-f]{2}){5}$/.test(text)) return { type: 'mac', mac: text.toLowerCase() };
  if (text.includes(':') || /^\d+(\.\d+){2,}|^[\d.]+\//.test(text)) return readAddress(text);
  const quantity = /^(\d+(?:\.\d+)?)([A-Za-z].*)$/.exec(text);
  return quantity ? readQuantity(quantity[1]!, quantity[2]!) : { type: 'problem', code: 'bad-value' };
}

function readTime(text: string): Literal | LiteralProblem {
  const [hours, minutes] = text.split(':').map(Number) as [number, number];
  if (minutes > 59 || hours * 60 + minutes > 24 * 60)
    return { type: 'problem', code: 'bad-value', hint: 'times of day go from 00:00 to 24:00' };
  return { type: 'time', minutes: hours * 60 + minutes };
}

function readQuantity(number: string, unit: string): Literal | LiteralProblem {
  const amount = Number(number);
  if (RATE_UNITS.includes(unit.toLowerCase())) {
    // A rate that rounds to nothing, or beyond 2^53, is for the checker to call absurd.
    return { type: 'rate', rate: parseRate(number + unit) ?? (amount < 1 ? 0 : Number.MAX_SAFE_INTEGER) };
  }
  if (Object.hasOwn(SIZES, unit)) return { type: 'size', bytes: Math.round(amount * SIZES[unit]!) };
  if (Object.hasOwn(DURATIONS, unit)) return { type: 'duration', ms: Math.round(amount * DURATIONS[unit]!) };
  const bytes = unit.endsWith('/s') ? unit.slice(0, -2) : '';
  // In whole bits, as parseRate has it.
  if (Object.hasOwn(SIZES, bytes)) return { type: 'rate', rate: Math.round(amount * SIZES[bytes]! * 8) };
  return { type: 'problem', code: 'unknown-unit', unit, hint: unitHint(number, unit) };
}

function unitHint(number: string, unit: string): string | undefined {
  const perSecond = /^(.+?)(?:\/s|\/sec|ps)$/.exec(unit);
  const bare = perSecond?.[1] ?? unit;
  if (Object.hasOwn(FOREIGN_UNITS, bare)) return `did you mean ${number}${FOREIGN_UNITS[bare]}?`;
  if (perSecond && RATE_UNITS.includes(bare.toLowerCase()))
    return `did you mean ${number}${bare}? It is per second already.`;
  const glued = UNITS.find((known) => unit.startsWith(known) && /^(and|or)$/.test(unit.slice(known.length)));
  if (glued) return `a space is missing: ${number}${glued} ${unit.slice(glued.length)}`;
  return didYouMean(unit, UNITS);
}

function readEndpoint(text: string): Literal | LiteralProblem {
  const [, six, four, digits] = /^(?:\[(.*)\]|([^:]*))(?::(\d+))?$/.exec(text) ?? [];
  const address = parseAddress(six ?? four ?? '');
  if (!address && four) return readAddress(four) as LiteralProblem;
  if (!address || (six !== undefined && address.length === 4))
    return { type: 'problem', code: 'bad-address', why: 'in brackets stands an IPv6 address, and a port behind ":"' };
  const port = digits === undefined ? undefined : Number(digits);
  if (port !== undefined && port > 65535)
    return { type: 'problem', code: 'bad-address', why: 'a port is at most 65535' };
  return { type: 'endpoint', address, port };
}

function readAddress(text: string): Literal | LiteralProblem {
  const prefix = parsePrefix(text);
  if (!prefix) {
    const [address = '', length] = text.split('/');
    const six = address.includes(':');
    const bad = (why: string, hint?: string): LiteralProblem => ({ type: 'problem', code: 'bad-address', why, hint });
    if (!parsePrefix(address)) {
      if (six) return bad('it is not eight groups of hexadecimal digits, nor has it one "::"');
      if (/(^|\.)0\d/.test(address)) {
        const decimal = address.replace(/\b0+(?=\d)/g, '');
        return bad('a number in it begins with 0, which some read as octal', `did you mean ${decimal}?`);
      }
      if (address.split('.').length !== 4) return bad('an IPv4 address has four numbers');
      return bad('a number in it is over 255');
    }
    if (length?.includes('.'))
      return bad('the part behind "/" is a netmask', 'write the number of leading bits: 10.0.0.0/8');
    return bad(`the length behind "/" must be a number from 0 to ${six ? 128 : 32}`);
  }
  const address = maskAddress(prefix.address, prefix.length);
  return {
    type: 'address',
    prefix: { address, length: prefix.length },
    hostBits: !sameAddress(address, prefix.address),
  };
}
