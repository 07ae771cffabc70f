import { Buffer } from 'node:buffer';
import { type Answer, decode } from 'dns-packet';
import { type Address, parseAddress } from '../model/index.ts';

/** An address that a DNS answer gave, and the names that led there. */
export interface NamedAddress {
  readonly address: Address;
  /** The name that was asked for, then those of its CNAME chain: lower case, without the last dot. */
  readonly names: readonly string[];
  /** Seconds that the answer may be kept: the least on the way. */
  readonly ttl: number;
}

/** Records that an answer may have; one with more is not read. What a hostile one costs is in proportion. */
export const MOST_ANSWERS = 64;
/** CNAMEs in a row that are followed. */
const MOST_STEPS = 16;

const HEADER_BYTES = 12;
/** Hosts as they can be in a policy; anything else in a name is a mistake, or meant to mislead. */
const NAME = /^(?=.{1,253}$)[a-z0-9_-]{1,63}(\.[a-z0-9_-]{1,63})*$/;

/**
 * What a DNS message says of addresses (RFC 1035, 3596): nothing unless it is a good answer to one question, from whose
 * name CNAMEs lead to them. Records of other names are not believed. Never throws.
 */
export function readAnswer(message: Uint8Array): readonly NamedAddress[] {
  if (message.length < HEADER_BYTES) return [];
  const bytes = Buffer.from(message);
  if (bytes.readUInt16BE(4) !== 1 || bytes.readUInt16BE(6) > MOST_ANSWERS) return [];
  // Authorities and additions name servers, and EDNS options: a bad one there should cost us nothing.
  bytes.fill(0, 8, HEADER_BYTES);
  try {
    const { type, rcode, questions, answers } = decode(bytes) as ReturnType<typeof decode> & { rcode: string };
    const asked = questions?.[0];
    if (type !== 'response' || rcode !== 'NOERROR' || !asked || !answers) return [];
    return follow(asked.name.toLowerCase(), answers);
  } catch {
    return [];
  }
}

function follow(asked: string, answers: readonly Answer[]): readonly NamedAddress[] {
  const aliases = new Map<string, { readonly to: string; readonly ttl: number }>();
  for (const answer of answers)
    if (answer.type === 'CNAME')
      aliases.set(answer.name.toLowerCase(), { to: answer.data.toLowerCase(), ttl: answer.ttl ?? 0 });
  const names = [asked];
  let least = Number.POSITIVE_INFINITY;
  for (let alias = aliases.get(asked); alias && names.length <= MOST_STEPS; alias = aliases.get(alias.to)) {
    names.push(alias.to);
    least = Math.min(least, alias.ttl);
  }
  const owner = names.at(-1);
  const good = names.filter((name) => NAME.test(name));
  if (good.length === 0) return [];
  return answers.flatMap((answer) => {
    if ((answer.type !== 'A' && answer.type !== 'AAAA') || answer.name.toLowerCase() !== owner) return [];
    const address = parseAddress(answer.data);
    return address ? [{ address, names: good, ttl: Math.min(least, answer.ttl ?? 0) }] : [];
  });
}
