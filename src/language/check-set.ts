import { readNumberedItem, readPrefixItem } from './check-identity.ts';
import { itemsOf } from './check-operand.ts';
import { PORTS } from './check-value.ts';
import { readLiteral } from './literal.ts';
import { resolveLet, type Scope, type SetType, type SetValue } from './scope.ts';
import { mergePrefixes, mergeRanges } from './sets.ts';
import type { OperandSyntax, SetSyntax } from './syntax.ts';

const NOUNS = { address: 'an address', port: 'a port', name: 'a name' } as const;

/** Reads what a `set` statement defines; its first value says of which type it is. */
export function checkSet({ name, value }: SetSyntax, scope: Scope): SetValue | undefined {
  // Rules add addresses, so a set may begin empty when some rule adds to it.
  const dynamic = name.text !== undefined && scope.dynamic.has(name.text);
  if (dynamic && value.kind === 'list' && value.items.length === 0) return { type: 'address', values: [] };
  const items = itemsOf(value, scope)?.map((item) => resolveLet(item, scope));
  if (!items) return undefined;

  let type: SetType | undefined;
  let first = '';
  let good = true;
  const read: { [T in SetType]: { address: Prefixes; port: Ranges; name: string[] }[T] } = {
    address: [],
    port: [],
    name: [],
  };
  for (const item of items) {
    const token =
      item.kind === 'range' ? item.first : item.kind === 'list' || item.kind === 'error' ? undefined : item.token;
    const its = typeOf(item);
    if (token && its && type && its !== type) {
      const fields = { found: token.text, actual: NOUNS[its], first, expected: NOUNS[type] };
      scope.diagnostics.add('mixed-set', item, fields);
      good = false;
      continue;
    }
    if (token && its && !type) [type, first] = [its, token.text];
    good = readInto(read, its ?? type, item, scope) && good;
  }
  if (!good || !type) return undefined;
  if (type === 'port') return { type, values: mergeRanges(read.port) };
  if (type === 'name') return { type, values: [...new Set(read.name)] };
  return { type, values: mergePrefixes(read.address) };
}

type Prefixes = NonNullable<ReturnType<typeof readPrefixItem>>[];
type Ranges = NonNullable<ReturnType<typeof readNumberedItem>>[];

function typeOf(item: OperandSyntax): SetType | undefined {
  if (item.kind === 'string') return 'name';
  const token = item.kind === 'range' ? item.first : item.kind === 'literal' ? item.token : undefined;
  const literal = token && readLiteral(token.text);
  return literal?.type === 'address' ? 'address' : literal?.type === 'number' ? 'port' : undefined;
}

/** What is of no type that sets have is complained of as if it were of this set's. */
function readInto(
  read: { readonly address: Prefixes; readonly port: Ranges; readonly name: string[] },
  type: SetType | undefined,
  item: OperandSyntax,
  scope: Scope,
): boolean {
  if (type === 'port') {
    const range = readNumberedItem(item, 'a set of ports', PORTS, scope);
    if (range) read.port.push(range);
    return range !== undefined;
  }
  if (type === 'name' && item.kind === 'string') {
    read.name.push(item.token.text);
    return true;
  }
  const prefix = readPrefixItem(type === 'address' ? 'a set of addresses' : 'a set', item, scope);
  if (prefix) read.address.push(prefix);
  return prefix !== undefined;
}
