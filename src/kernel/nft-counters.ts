import type { Count } from '../model/index.ts';
import { isGone, run, type Where } from './command.ts';

/** A rule of nft that counts. */
export interface CountingRule {
  readonly chain: string;
  readonly comment?: string | undefined;
  /** One for each `counter` statement, in their order; bytes count from the IP header on. */
  readonly counts: readonly Count[];
  /** Where its `fwd` sends packets. */
  readonly forwardsTo?: string | undefined;
}

/** The rules of a table that count; none where it is not there. @throws HeadgateError HG_KERNEL */
export async function listCountingRules(family: string, table: string, where: Where = {}): Promise<CountingRule[]> {
  // Sets may be long, and are not asked for.
  const text = await run(['nft', '--json', '--terse', 'list', 'table', family, table], where).catch((error) => {
    if (isGone(error)) return '{"nftables":[]}';
    throw error;
  });
  return readCountingRules(text);
}

interface NftJson {
  readonly rule?: { readonly chain: string; readonly comment?: string; readonly expr: readonly Expression[] };
}
/** A statement's name and what it holds; `counter` is null in a listing without state. */
type Expression = { readonly counter?: Count | null; readonly fwd?: { readonly dev?: unknown } };

/** Reads what `nft --json list table` prints. */
export function readCountingRules(text: string): CountingRule[] {
  const { nftables } = JSON.parse(text) as { nftables: readonly NftJson[] };
  return nftables.flatMap(({ rule }) => {
    if (!rule) return [];
    const counts = rule.expr.flatMap(({ counter }) =>
      counter ? [{ packets: counter.packets, bytes: counter.bytes }] : [],
    );
    const device = rule.expr.find(({ fwd }) => fwd)?.fwd?.dev;
    const forwardsTo = typeof device === 'string' ? device : undefined;
    return counts.length > 0 ? [{ chain: rule.chain, comment: rule.comment, counts, forwardsTo }] : [];
  });
}
