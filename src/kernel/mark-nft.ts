import { type MarkUse, softwareOf } from '../model/index.ts';
import { isObject, type Json, StatementReader } from './mark-nft-statement.ts';

/** What `nft -j list ruleset` tells that concerns marks. */
export interface NftMarks {
  readonly uses: readonly MarkUse[];
  /** Names of tables and chains. */
  readonly names: readonly string[];
  /** Some rule was made by iptables-nft in a form that nft does not write out. */
  readonly xtables: boolean;
  /** Statements on marks that are not understood, and where they stand, as phrases. */
  readonly unseen: readonly string[];
}

/** A set or map whose elements have to be listed: `set inet fw wan`. */
export interface NftReference {
  readonly kind: 'set' | 'map';
  readonly family: string;
  readonly table: string;
  readonly name: string;
}

/** The elements of named sets and maps of marks by {@link keyOfReference}; undefined where they could not be listed. */
export type NftElements = ReadonlyMap<string, readonly unknown[] | undefined>;

export const keyOfReference = ({ family, table, name }: Omit<NftReference, 'kind'>): string =>
  `${family} ${table} ${name}`;

/** Sets and maps of marks, whose elements a terse listing leaves out. */
export const listMarkSets = (ruleset: unknown): NftReference[] =>
  objectsOf(ruleset).flatMap((object) => {
    for (const kind of ['set', 'map'] as const) {
      const { family, table, name, type, map } = (object[kind] ?? {}) as Json;
      // A type can be written as the expression whose it is: `typeof ct mark`.
      if (/"mark"/.test(JSON.stringify([type, map])))
        return [{ kind, family: String(family), table: String(table), name: String(name) }];
    }
    return [];
  });

/** Families of the tables of that name. */
export const listFamilies = (ruleset: unknown, table: string): string[] =>
  objectsOf(ruleset).flatMap((object) => {
    const { family, name } = (object.table ?? {}) as Json;
    return name === table ? [String(family)] : [];
  });

/** @param ours tables that are passed over: `inet headgate` */
export function readNftMarks(ruleset: unknown, elements: NftElements, ours: ReadonlySet<string>): NftMarks {
  const objects = objectsOf(ruleset);
  const names = new Set<string>();
  for (const object of objects) {
    const table = (object.table ?? {}) as Json;
    if (table.name !== undefined && !ours.has(`${table.family} ${table.name}`)) names.add(String(table.name));
    const chain = (object.chain ?? {}) as Json;
    if (chain.name !== undefined && !ours.has(`${chain.family} ${chain.table}`)) names.add(String(chain.name));
  }
  const uses = new Map<string, MarkUse>();
  const unseen = new Set<string>();
  let xtables = false;
  for (const { rule } of objects) {
    const { family, table, chain, expr } = (rule ?? {}) as Json;
    if (!Array.isArray(expr) || ours.has(`${family} ${table}`)) continue;
    const who = softwareOf(String(chain)) ?? softwareOf(String(table)) ?? `nft table ${family} ${table}`;
    const where = `nft table ${family} ${table} chain ${chain}`;
    const find = (name: string) => {
      const key = keyOfReference({ family: String(family), table: String(table), name });
      return elements.has(key) ? { listed: elements.get(key) } : undefined;
    };
    for (const statement of expr as unknown[]) {
      const reader = new StatementReader(find);
      reader.read(statement);
      // iptables-save does not list those of ebtables and arptables. Older nft gives no name of theirs.
      const xt = isObject(statement) && 'xt' in statement;
      const elsewhere = xt && !['ip', 'ip6'].includes(String(family)) && /mark|null/i.test(JSON.stringify(statement));
      xtables ||= xt;
      for (const use of reader.uses) uses.set(JSON.stringify([where, use]), { who, where, ...use });
      if (reader.lost || elsewhere)
        unseen.add(`a statement on marks in ${where}, which is not understood: ${shorten(statement)}`);
    }
  }
  return { uses: [...uses.values()], names: [...names], xtables, unseen: [...unseen] };
}

const objectsOf = (ruleset: unknown): readonly Json[] => ((ruleset as Json).nftables ?? []) as Json[];

/** As much of a statement as a person is shown. */
const shorten = (statement: unknown): string =>
  (typeof statement === 'string' ? statement : JSON.stringify(statement)).slice(0, 200);
