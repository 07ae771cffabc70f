import { type Address, formatAddress, formatPrefix, type Prefix } from './address.ts';

/** A value as JSON can carry it: addresses and prefixes as people write them, no functions. */
export function plain(value: unknown): unknown {
  if (value instanceof Uint8Array) return formatAddress(value);
  if (Array.isArray(value)) return value.map(plain);
  if (typeof value !== 'object' || value === null) return typeof value === 'function' ? undefined : value;
  if (isPrefix(value)) return formatPrefix(value);
  return Object.fromEntries(Object.entries(value).map(([key, part]) => [key, plain(part)]));
}

const isPrefix = (value: object): value is Prefix =>
  'address' in value &&
  'length' in value &&
  (value.address as Address) instanceof Uint8Array &&
  Object.keys(value).length === 2;
