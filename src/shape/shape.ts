import type { Policy } from '../language/index.ts';
import { formatRate, HeadgateError, type Rate } from '../model/index.ts';
import type { LinkShape } from './link.ts';
import { computeTree, type Leaves } from './tree.ts';

/** Number of a queue's class: its place in the policy, from 1. It is the minor of the classid and the value in the mark. */
export const classOf = (policy: Policy, queue: string): number => policy.queues.findIndex((q) => q.name === queue) + 1;

/**
 * What each link of the policy is to become, on a kernel with these leaf qdiscs.
 *
 * @throws HeadgateError HG_LINK_INCOMPLETE where a link names no device, or no rate in either direction; HG_DEVICE_NAME;
 * HG_RATE
 */
export function shapePolicy(policy: Policy, leaves: Leaves): LinkShape[] {
  return policy.links.map(({ name: link, device, download, upload }) => {
    if (device === undefined) throw new HeadgateError('HG_LINK_INCOMPLETE', { link, missing: 'device' });
    if (download === undefined && upload === undefined)
      throw new HeadgateError('HG_LINK_INCOMPLETE', { link, missing: 'rate, neither download nor upload' });
    if (/[\s"'#\\]/.test(device)) throw new HeadgateError('HG_DEVICE_NAME', { device });
    checkRate(link, 'download', download);
    checkRate(link, 'upload', upload);
    return {
      link,
      device,
      download: download === undefined ? undefined : computeTree(policy.queues, download, leaves),
      upload: upload === undefined ? undefined : computeTree(policy.queues, upload, leaves),
    };
  });
}

/** Below it the parts of the queues are less than a packet in a second. */
const LEAST_RATE: Rate = 64_000;

function checkRate(link: string, direction: string, rate: Rate | undefined): void {
  if (rate !== undefined && rate < LEAST_RATE)
    throw new HeadgateError('HG_RATE', { link, direction, rate: formatRate(rate), least: formatRate(LEAST_RATE) });
}
