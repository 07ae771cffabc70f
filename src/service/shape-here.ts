import { listDevices, probeQdiscs } from '../kernel/index.ts';
import type { Policy } from '../language/index.ts';
import { ETHERNET_HEADER, type LinkShape, shapePolicy, wantedQdiscs } from '../shape/index.ts';

/**
 * What the links of a policy are to become on this machine: of the qdiscs that its kernel has, for the devices that are
 * there. Without root, which trying qdiscs needs, as if it had all.
 *
 * @throws HeadgateError as shapePolicy does
 */
export async function shapeHere(policy: Policy): Promise<LinkShape[]> {
  const wanted = wantedQdiscs(policy);
  const [qdiscs, devices] = await Promise.all([
    process.geteuid?.() === 0 ? probeQdiscs(wanted) : new Set(wanted),
    listDevices(),
  ]);
  return shapePolicy(policy, qdiscs, (name) => {
    const device = devices.find((d) => d.name === name);
    return device && device.linkType !== 'ether' ? 0 : ETHERNET_HEADER;
  });
}
