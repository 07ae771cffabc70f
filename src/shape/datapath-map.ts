import type { Command } from '../model/index.ts';
import type { ClassPlan, Datapath } from './datapath.ts';
import { aboutRedirect, type IfbShape } from './ifb.ts';
import { LEFT_ALONE_NFT } from './left-alone.ts';
import { DOWNLOAD_MAJOR, formatHandle, TABLE } from './names.ts';
import { chain } from './nft-chain.ts';
import { formatTupleMaps, TUPLE_MAPS, tupleMatch } from './nft-tuples.ts';
import type { Operation } from './operation.ts';
import { TABLE_COMMENT } from './table.ts';

/** Family of the table with the maps and a chain for each device. */
export const ARRIVAL_FAMILY = 'netdev';

/** The set of what is redirected at all; what is in it has the time until the deadline to stay there. */
export const TAKEN = 'taken';
/** Ethertypes: IP, also behind tags that are still in line, and in PPPoE. */
const ETHERTYPES = ['ip', 'ip6', '0x8100', '0x88a8', '0x8864'];

/** The last of all at the ingress hook: other people's chains and flowtables on the device see what arrives before we take it. */
const LAST = 0x7fffffff;

/**
 * `map`: a chain at the device's netdev ingress hook finds the arriving tuple in a map from tuples to classes, which the
 * pipeline fills (src/pipeline/tuple-map.ts), and forwards the packet to the ifb. It needs nothing of tc but the trees.
 *
 * A flow's packets are not known until the pipeline has heard of it, a few milliseconds. ICMP echo goes by its type.
 */
export function mapDatapath({ byOrigin, field }: ClassPlan): Datapath {
  const classid = (number: number) => `meta priority set ${formatHandle(DOWNLOAD_MAJOR, number)}`;
  const rules = [
    `meta protocol != @${TAKEN} accept`,
    // Written so that nft 1.0.6 can list it: of some ways to ask for raw bytes behind a protocol it dies (payload.c,
    // payload_expr_complete()).
    'meta protocol { 0x8100, 0x88a8 } @nh,16,16 != { 0x0800, 0x86dd } accept',
    'meta protocol 0x8864 @nh,0,16 != 0x1100 accept',
    'meta protocol 0x8864 @nh,48,16 != 0x0021 @nh,48,16 != 0x0057 accept',
    ...LEFT_ALONE_NFT.map((match) => `${match} accept`),
    classid(byOrigin.new),
    `icmp type { echo-request, timestamp-request } ${classid(byOrigin.remote)}`,
    `icmp type { echo-reply, timestamp-reply } ${classid(byOrigin.local)}`,
    `icmpv6 type echo-request ${classid(byOrigin.remote)}`,
    `icmpv6 type echo-reply ${classid(byOrigin.local)}`,
    `meta priority set ${tupleMatch(4)} map @${TUPLE_MAPS[4]}`,
    `meta priority set ${tupleMatch(6)} map @${TUPLE_MAPS[6]}`,
  ];
  const unredirect: Datapath['unredirect'] = (_, was) => {
    const name = `${ARRIVAL_FAMILY} ${TABLE} ${arrivalChain(was.device)}`;
    return nft(`flush chain ${name}`, `delete chain ${name}`);
  };
  return {
    name: 'map',
    field,
    hook: false,
    map: true,
    marksOrigin: false,
    leavesByNft: true,
    inPlace: true,
    entries: [],
    chainOf: arrivalChain,
    redirect(device, ifbs) {
      const name = arrivalChain(device);
      const hook = `type filter hook ingress device "${device}" priority ${LAST}; policy accept;`;
      return {
        about: aboutRedirect(device, ifbs),
        command: nft(
          `table ${ARRIVAL_FAMILY} ${TABLE} {`,
          ...TABLE_LINES,
          ...chain(name, [hook]).map((line) => `  ${line}`),
          '}',
          `flush chain ${ARRIVAL_FAMILY} ${TABLE} ${name}`,
          `table ${ARRIVAL_FAMILY} ${TABLE} {`,
          ...chain(name, [...rules, ...forward(ifbs)]).map((line) => `  ${line}`),
          '}',
        ),
        undo: unredirect(device, { device, ifbs }),
      };
    },
    unredirect,
    passAfter: passArrivalsAfter,
    classifyLeaving: () => undefined,
  };
}

/** To the ifb that has the class; the last takes what is left. */
const forward = (ifbs: readonly IfbShape[]): string[] =>
  ifbs.map(({ name, tree }, i) => {
    const classids = tree.classes.flatMap(({ minor, leaf }) => (leaf ? [formatHandle(DOWNLOAD_MAJOR, minor)] : []));
    return `${i + 1 < ifbs.length ? `meta priority { ${classids.join(', ')} } ` : ''}counter fwd to "${name}"`;
  });

/** The table with the maps alone, for who has to take all of it away again, step by step. */
export const arrivalTable = (): Operation => ({
  about: `add nft table ${ARRIVAL_FAMILY} ${TABLE}`,
  command: nft(`table ${ARRIVAL_FAMILY} ${TABLE} {`, ...TABLE_LINES, '}'),
  undo: removeArrivals(),
});

/** {@link Datapath.passAfter}, in one transaction: nft changes the timeout of an element that is there only from kernel 6.12 on. */
export function passArrivalsAfter(ms: number | undefined): Command {
  const set = `${ARRIVAL_FAMILY} ${TABLE} ${TAKEN}`;
  const timeout = ms === undefined ? '' : ` timeout ${Math.ceil(ms)}ms`;
  const elements = ETHERTYPES.map((type) => `${type}${timeout}`).join(', ');
  return nft(`flush set ${set}`, ...(ms === undefined || ms > 0 ? [`add element ${set} { ${elements} }`] : []));
}

const TABLE_LINES = [
  `comment "${TABLE_COMMENT}"`,
  ...formatTupleMaps(),
  `set ${TAKEN} {`,
  '  type ether_type',
  '  flags timeout',
  `  elements = { ${ETHERTYPES.join(', ')} }`,
  '}',
].map((line) => `  ${line}`);
const nft = (...lines: string[]): Command => ({ argv: ['nft', '-f', '-'], input: `${lines.join('\n')}\n` });

/** All that the datapath has made, redirects and maps. */
export const removeArrivals = (): Command => ({ argv: ['nft', 'delete', 'table', ARRIVAL_FAMILY, TABLE] });

/** The chain of a device. Names of chains are letters, digits and few signs; names of devices nearly anything. */
export const arrivalChain = (device: string): string =>
  `arrive-${device.replace(/[^a-zA-Z0-9.]/g, (sign) => `_${sign.codePointAt(0)!.toString(16)}`)}`;
