import { formatMark, markOfClass } from '../model/index.ts';
import type { ClassPlan } from './datapath.ts';
import { LEFT_ALONE_NFT } from './left-alone.ts';
import { formatHandle, UPLOAD_MAJOR } from './names.ts';
import { chain } from './nft-chain.ts';

/** Behind the chains that set the mark of a flow's first packet (AFTER_NAT), and behind `police`. */
const PRIORITY = 130;

/**
 * The chain that gives what leaves by the links its class, which skb->priority carries to the tree: the flow's own, or
 * that of its origin. An ICMP error has the entry of the flow that it is about. Fragments are made later, and take it over.
 * Lines of the table; none without links.
 *
 * @param links names of devices, as nft writes them
 */
export function leaveChain({ field, count, byOrigin }: ClassPlan, links: readonly string[]): string[] {
  if (links.length === 0) return [];
  const classid = (number: number) => formatHandle(UPLOAD_MAJOR, number);
  const marks = Array.from({ length: count }, (_, i) => `${formatMark(markOfClass(field, i + 1))} : ${classid(i + 1)}`);
  return chain('leave', [
    `type filter hook postrouting priority ${PRIORITY}; policy accept;`,
    `oifname != { ${links.join(', ')} } accept`,
    ...LEFT_ALONE_NFT.map((match) => `${match} accept`),
    `meta priority set ct mark & ${formatMark(field.mask)} map { ${marks.join(', ')} } accept`,
    `ct direction reply meta priority set ${classid(byOrigin.remote)} accept`,
    `ct direction original meta priority set ${classid(byOrigin.local)} accept`,
    `meta priority set ${classid(byOrigin.new)}`,
  ]);
}
