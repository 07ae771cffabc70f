import { listDevices } from '../kernel/index.ts';
import type { Policy } from '../language/index.ts';
import { ETHERNET_HEADER, type LinkShape, type Qdisc, shapePolicy } from '../shape/index.ts';

/**
 * What the links of a policy are to become on a kernel with these qdiscs, for this machine's devices; one that is not
 * there counts as Ethernet.
 *
 * @throws HeadgateError as shapePolicy does
 */
export async function shapeHere(policy: Policy, qdiscs: ReadonlySet<Qdisc>): Promise<LinkShape[]> {
  const devices = await listDevices();
  return shapePolicy(policy, qdiscs, (name) => {
    const device = devices.find((d) => d.name === name);
    return device && device.linkType !== 'ether' ? 0 : ETHERNET_HEADER;
  });
}
