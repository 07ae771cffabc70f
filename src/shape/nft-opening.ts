import { chain } from './nft-chain.ts';

/** NFLOG group by which the first packets of flows are sent up; likewise as NAMES_GROUP. */
export const OPENING_GROUP = 0x7f36;

/** First packets a second that are sent up, of each hook and way; further ones pass unseen. */
const MOST_A_SECOND = 5000;

/** Behind every NAT hook and the chains of the kernel rules, before the entry is confirmed. */
const PRIORITY = 112;

/**
 * Chains that send the first packet of each flow over a link up, and touch nothing. It has the addresses by then that its
 * answer will have, turned round, and is what kernel rules by `dscp`, `mac` and `device` are asked of.
 *
 * NFLOG reads the sender's hardware address as the packet's device has it, which behind routing is the one that it leaves by (skb->dev,
 * __build_packet_message() in net/netfilter/nfnetlink_log.c). So where that is no Ethernet (PPP, WireGuard, tun), the packet is
 * sent up in the forward hook, too, where it is the one that it came by: with the source that it has before SNAT.
 *
 * @param links names of devices, as nft writes them
 */
export function openingChains(links: readonly string[]): string[] {
  if (links.length === 0) return [];
  const over = `{ ${links.join(', ')} }`;
  const first = 'ct state new,related ct status & confirmed == 0';
  const send = `${first} limit rate ${MOST_A_SECOND}/second burst ${MOST_A_SECOND} packets log group ${OPENING_GROUP}`;
  const hook = (name: string) => `type filter hook ${name} priority ${PRIORITY}; policy accept;`;
  return [
    ...chain('opening-input', [hook('input'), `iifname ${over} ${send}`]),
    ...chain('opening-forward', [
      hook('forward'),
      `iifname ${over} accept`,
      `oifname ${over} meta iiftype ether meta oiftype != ether ${send}`,
    ]),
    ...chain('opening-postrouting', [
      hook('postrouting'),
      // From link to link: neither side is ours.
      `iifname ${over} oifname ${over} accept`,
      `iifname ${over} ${send}`,
      `oifname ${over} ${send}`,
    ]),
  ];
}
