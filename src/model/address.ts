/**
 * An IP address as its bytes in network order: 4 for IPv4, 16 for IPv6.
 *
 * An IPv4-mapped IPv6 address stays IPv6: conntrack keeps the families apart, and so do we.
 */
export type Address = Uint8Array;

/** A prefix: `length` leading bits of `address` count; the bits behind them are zero. */
export interface Prefix {
  readonly address: Address;
  /** 0..32 for IPv4, 0..128 for IPv6. */
  readonly length: number;
}

export type Family = 4 | 6;

export const familyOf = (address: Address): Family => (address.length === 4 ? 4 : 6);

export function sameAddress(a: Address, b: Address): boolean {
  return a.length === b.length && a.every((byte, i) => byte === b[i]);
}

/** An address as a key of maps: a character for each byte. */
export const keyOfAddress = (address: Address): string =>
  // Spread takes several times as long.
  address.length === 4
    ? String.fromCharCode(address[0]!, address[1]!, address[2]!, address[3]!)
    : String.fromCharCode(...address);

/** Reads an IPv4 or IPv6 address (RFC 4291, with `::` and a dotted tail); undefined where the text is none. */
export function parseAddress(text: string): Address | undefined {
  return text.includes(':') ? parseIpv6(text) : parseIpv4(text);
}

/** Reads `address/length`, or an address alone as a prefix of full length. Host bits must be zero: see {@link maskAddress}. */
export function parsePrefix(text: string): Prefix | undefined {
  const slash = text.indexOf('/');
  const address = parseAddress(slash < 0 ? text : text.slice(0, slash));
  if (!address) return undefined;
  const most = address.length * 8;
  if (slash < 0) return { address, length: most };
  const digits = text.slice(slash + 1);
  if (!/^(0|[1-9]\d{0,2})$/.test(digits) || Number(digits) > most) return undefined;
  return { address, length: Number(digits) };
}

/** The address with all bits after the first `length` cleared. */
export function maskAddress(address: Address, length: number): Address {
  return address.map((byte, i) => {
    const bits = Math.max(0, Math.min(8, length - i * 8));
    return byte & (0xff00 >> bits) & 0xff;
  });
}

/** True when `address` is of the prefix's family and lies within it. */
export function prefixContains(prefix: Prefix, address: Address): boolean {
  if (address.length !== prefix.address.length) return false;
  const whole = prefix.length >> 3;
  for (let i = 0; i < whole; i++) if (address[i] !== prefix.address[i]) return false;
  const rest = prefix.length & 7;
  return rest === 0 || ((address[whole]! ^ prefix.address[whole]!) & (0xff00 >> rest) & 0xff) === 0;
}

/** Writes an address as RFC 5952 says: lower case, the longest run of two or more zero groups shortened. */
export function formatAddress(address: Address): string {
  if (address.length === 4) return address.join('.');
  const groups = Array.from({ length: 8 }, (_, i) => (address[2 * i]! << 8) | address[2 * i + 1]!);
  let start = -1;
  let longest = 1;
  for (let i = 0; i < 8; i++) {
    let run = 0;
    while (i + run < 8 && groups[i + run] === 0) run++;
    if (run > longest) [start, longest] = [i, run];
  }
  const hex = (part: number[]) => part.map((g) => g.toString(16)).join(':');
  return start < 0 ? hex(groups) : `${hex(groups.slice(0, start))}::${hex(groups.slice(start + longest))}`;
}

export const formatPrefix = (p: Prefix): string => `${formatAddress(p.address)}/${p.length}`;

function parseIpv4(text: string): Address | undefined {
  const parts = text.split('.');
  if (parts.length !== 4 || !parts.every((p) => /^(0|[1-9]\d{0,2})$/.test(p) && Number(p) <= 255)) return undefined;
  return Uint8Array.from(parts, Number);
}

function parseIpv6(text: string): Address | undefined {
  const halves = text.split('::');
  if (halves.length > 2) return undefined;
  const [head, tail] = halves.map(ipv6Groups);
  if (!head || (halves.length === 2 && !tail)) return undefined;
  const missing = 8 - head.length - (tail?.length ?? 0);
  if (tail ? missing < 1 : missing !== 0) return undefined;
  const groups = [...head, ...new Array<number>(missing).fill(0), ...(tail ?? [])];
  return Uint8Array.from(groups.flatMap((g) => [g >> 8, g & 0xff]));
}

function ipv6Groups(half: string): number[] | undefined {
  if (half === '') return [];
  const groups: number[] = [];
  const parts = half.split(':');
  for (const [i, part] of parts.entries()) {
    if (part.includes('.') && i === parts.length - 1) {
      const v4 = parseIpv4(part);
      if (!v4) return undefined;
      groups.push((v4[0]! << 8) | v4[1]!, (v4[2]! << 8) | v4[3]!);
    } else if (/^[0-9a-fA-F]{1,4}$/.test(part)) groups.push(Number.parseInt(part, 16));
    else return undefined;
  }
  return groups;
}
