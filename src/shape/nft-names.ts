import { chain } from './nft-chain.ts';

/** NFLOG group by which DNS answers are sent up: nobody else's, as far as one can choose. */
export const NAMES_GROUP = 0x7f35;

/** Packets a second that are sent up; further ones pass unread, and are counted in {@link NAMES_CHAIN}. */
const MOST_ANSWERS = 500;

/** The chain that has the answers of all hooks: its one counter tells those that were too many. */
export const NAMES_CHAIN = 'names';

/** Behind people's filters, which are at 0: what they drop is no answer. */
const PRIORITY = 20;

/**
 * Chains that send DNS answers up, and touch nothing: from port 53, in the reply direction of a flow. So somebody asked
 * for them, and only what goes to this side is believed: to the box, to a host behind it, or from the box's own server to such a host.
 *
 * @param links names of devices, as nft writes them
 */
export function nameChains(links: readonly string[]): string[] {
  const outside = links.length === 0 ? [] : [`oifname { ${links.join(', ')} } accept`];
  const send = `meta l4proto { tcp, udp } ct direction reply th sport 53 goto ${NAMES_CHAIN}`;
  const hook = (name: string) => `type filter hook ${name} priority ${PRIORITY}; policy accept;`;
  return [
    ...chain(NAMES_CHAIN, [
      `limit rate ${MOST_ANSWERS}/second burst ${MOST_ANSWERS} packets log group ${NAMES_GROUP} accept`,
      'counter',
    ]),
    ...chain('names-input', [hook('input'), send]),
    ...chain('names-forward', [hook('forward'), ...outside, send]),
    // What goes over loopback comes in again.
    ...chain('names-output', [hook('output'), 'oif lo accept', ...outside, send]),
  ];
}
