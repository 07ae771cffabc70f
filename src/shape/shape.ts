import type { LinkPolicy, Overhead, Policy, TreeKind } from '../language/index.ts';
import { formatRate, HeadgateError, MAX_BANDS, MAX_TINS, type Rate } from '../model/index.ts';
import { leafQueues } from './classes.ts';
import type { IfbShape } from './ifb.ts';
import type { LinkShape } from './link.ts';
import { fitsAlias, ifbName } from './names.ts';
import { type OriginQueues, queuesPerOrigin } from './per-origin.ts';
import { computeTree, type Qdisc, type TreePlan } from './tree.ts';

/**
 * What each link of the policy is to become, on a kernel with these qdiscs ({@link qdiscsOf}): links that others share come before those.
 *
 * @param headerOf bytes of a device's own header, which the kernel counts with each packet
 * @throws HeadgateError HG_LINK_INCOMPLETE where a link names no device, or shares a tree that there is not;
 * HG_DEVICE_NAME; HG_RATE; HG_NO_KERNEL where the kernel lacks a qdisc that nothing else can stand for
 */
export function shapePolicy(
  policy: Policy,
  qdiscs: ReadonlySet<Qdisc>,
  headerOf: (device: string) => number = () => ETHERNET_HEADER,
): LinkShape[] {
  const { links, queues } = policy;
  const shaped = links.some(({ download, upload }) => download !== undefined || upload !== undefined);
  if (shaped && queues.some(({ fair }) => fair === 'host') && !qdiscs.has('cake'))
    throw missing('fairness between hosts', 'it has no qdisc cake', 'sch_cake (Linux 4.19), or `fair by flow`');
  const made = links.map((link): LinkShape => {
    const { name, download, upload } = link;
    const device = deviceOf(link);
    checkRate(name, 'download', download);
    checkRate(name, 'upload', upload);
    checkTree(link, policy, qdiscs);
    const plan = {
      kind: link.tree,
      policy,
      overhead: link.overhead && { ...link.overhead, bytes: bytesOf(link.overhead, headerOf(device), link.tree) },
      leaves: qdiscs,
    } as const;
    return {
      link: name,
      device,
      ifbs:
        download === undefined
          ? []
          : ifbsOf(device, { ...plan, rate: download }, link.ifbPer && queuesPerOrigin(policy)),
      upload: upload === undefined ? undefined : computeTree({ ...plan, rate: upload, direction: 'upload' }),
      numtxqueues: link.numtxqueues,
      bypass: link.bypass !== undefined,
      replacesRoot: link.replace !== undefined,
      creates: link.conntrack === 'create' && (download !== undefined || link.shareTreeWith !== undefined),
      shares: link.shareTreeWith === undefined ? undefined : ownerOf(link, links),
      sharedBy: links.filter((other) => other.shareTreeWith === name).map(deviceOf),
    };
  });
  const shapes = made.map((shape) =>
    shape.shares === undefined ? shape : { ...shape, ifbs: made.find(({ device }) => device === shape.shares)!.ifbs },
  );
  for (const { link, device, sharedBy } of shapes)
    if (!fitsAlias({ link, device, clsact: false, shared: sharedBy.map((d) => ({ device: d, clsact: false })) }))
      throw missing(
        `an ifb for ${sharedBy.length + 1} devices`,
        'their names do not fit into its alias',
        'fewer of them, or shorter names',
      );
  return [
    ...shapes.filter(({ shares }) => shares === undefined),
    ...shapes.filter(({ shares }) => shares !== undefined),
  ];
}

/** One for all that arrives, or one for each origin, of which each has its part of the rate for itself. */
function ifbsOf(
  device: string,
  plan: Omit<TreePlan, 'direction' | 'queues'>,
  perOrigin: readonly OriginQueues[] | undefined,
): IfbShape[] {
  const download = { ...plan, direction: 'download' } as const;
  if (!perOrigin) return [{ name: ifbName(device), tree: computeTree(download) }];
  return perOrigin.map(({ origin, share, queues }) => ({
    name: ifbName(device, origin),
    tree: computeTree({ ...download, queues, rate: Math.round(plan.rate * share) }),
  }));
}

/** ETH_HLEN (linux/if_ether.h). */
export const ETHERNET_HEADER = 14;

/**
 * What is to be added to a packet as the kernel counts it. The name of a kind of line counts from the IP header on, as
 * cake does by itself (tc-cake(8)).
 */
const bytesOf = ({ preset, bytes }: Overhead, header: number, tree: TreeKind): number =>
  preset === undefined || tree === 'cake' ? bytes : bytes - header;

function deviceOf({ name, device }: LinkPolicy): string {
  if (device === undefined) throw new HeadgateError('HG_LINK_INCOMPLETE', { link: name, missing: 'device' });
  if (/[\s"'#\\]/.test(device)) throw new HeadgateError('HG_DEVICE_NAME', { device });
  return device;
}

/** Device of the link whose tree `link` shares. */
function ownerOf(link: LinkPolicy, links: readonly LinkPolicy[]): string {
  const owner = links.find(({ name }) => name === link.shareTreeWith);
  if (owner?.download !== undefined) return deviceOf(owner);
  throw new HeadgateError('HG_LINK_INCOMPLETE', {
    link: link.name,
    missing: `tree to share: link ${link.shareTreeWith} has no download rate`,
  });
}

function checkTree({ name, tree, download, upload }: LinkPolicy, policy: Policy, qdiscs: ReadonlySet<Qdisc>): void {
  if (tree === 'htb' || (download === undefined && upload === undefined)) return;
  const what = `tree ${tree} of link ${name}`;
  if (!qdiscs.has(tree)) throw missing(what, `it has no qdisc ${tree}`, `sch_${tree}, or \`tree htb\``);
  const count = leafQueues(policy.queues).length;
  const [most, places] = tree === 'prio' ? [MAX_BANDS, 'bands'] : [MAX_TINS, 'tins'];
  if (count > most) throw missing(what, `${tree} has ${most} ${places} for ${count} queues`, '`tree htb`');
}

const missing = (what: string, problem: string, needs: string) =>
  new HeadgateError('HG_NO_KERNEL', { what, problem, needs });

/** Below it the parts of the queues are less than a packet in a second. */
const LEAST_RATE: Rate = 64_000;
/** Above it the bursts are more than tc can say. */
const MOST_RATE: Rate = 10_000_000_000_000;

function checkRate(link: string, direction: string, rate: Rate | undefined): void {
  if (rate !== undefined && (rate < LEAST_RATE || rate > MOST_RATE))
    throw new HeadgateError('HG_RATE', {
      link,
      direction,
      rate: formatRate(rate),
      amiss: rate < LEAST_RATE ? 'little to be divided into queues' : 'much for tc',
      least: formatRate(LEAST_RATE),
      most: formatRate(MOST_RATE),
    });
}
