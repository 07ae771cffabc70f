import type { Command } from '../model/index.ts';
import { TABLE } from './names.ts';
import type { Operation } from './operation.ts';

/** Says whose the table is: checked before it is removed. */
export const TABLE_COMMENT = 'made by headgate';

/**
 * Our one nft table. Its rule decides nothing: a rule that looks at `ct` is what makes the kernel track connections
 * in this namespace at all (nf_ct_netns_get), and without it every packet is `new`. An accept in our chain ends no
 * other chain.
 */
export const tableOperation: Operation = {
  about: `add nft table inet ${TABLE}`,
  command: {
    argv: ['nft', '-f', '-'],
    input: `table inet ${TABLE} {
  comment "${TABLE_COMMENT}"
  chain track {
    type filter hook prerouting priority mangle; policy accept;
    ct state invalid counter
  }
}
`,
  },
  undo: removeTable(),
};

export function removeTable(): Command {
  return { argv: ['nft', 'delete', 'table', 'inet', TABLE] };
}
