import { isGone, run, type Where } from './command.ts';

/**
 * Ms until the last element of a set of nft runs out, in whole seconds, and 1 in the last one; 0 where none is left.
 * Undefined: one stays for good, or there is no such set.
 */
export async function getSetExpiry(
  family: string,
  table: string,
  set: string,
  where: Where = {},
): Promise<number | undefined> {
  try {
    return readSetExpiry(await run(['nft', '--json', 'list', 'set', family, table, set], where));
  } catch (error) {
    if (isGone(error)) return undefined;
    throw error;
  }
}

interface SetJson {
  readonly set?: { readonly elem?: readonly (string | number | { readonly elem?: { readonly expires?: number } })[] };
}

/** Reads what `nft --json list set` prints. */
export function readSetExpiry(text: string): number | undefined {
  const { nftables } = JSON.parse(text) as { nftables: readonly SetJson[] };
  const elements = nftables.flatMap(({ set }) => set?.elem ?? []);
  const times = elements.map((element) => (typeof element === 'object' ? element.elem?.expires : undefined));
  if (times.includes(undefined)) return undefined;
  return Math.max(0, ...times.map((seconds) => Math.max(1, seconds! * 1000)));
}
