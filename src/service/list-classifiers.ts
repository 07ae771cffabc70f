import { listFilters } from '../kernel/index.ts';
import {
  ARRIVAL_FAMILY,
  arrivalChain,
  type Datapath,
  formatHandle,
  isOurFilter,
  type LinkShape,
  TABLE,
  UPLOAD_MAJOR,
} from '../shape/index.ts';

/** What gives the packets of these links their classes: `wan ingress filter pref 32736 bpf`, `wan chain netdev headgate arrive-wan`. */
export async function listClassifiers(shapes: readonly LinkShape[], { hook }: Datapath): Promise<string[]> {
  const lines: string[] = [];
  for (const { device, ifbs, upload } of shapes) {
    if (ifbs.length > 0 && hook) lines.push(...(await describe(device, 'ingress')));
    else if (ifbs.length > 0) lines.push(`${device} chain ${ARRIVAL_FAMILY} ${TABLE} ${arrivalChain(device)}`);
    if (upload) lines.push(...(await describe(device, formatHandle(UPLOAD_MAJOR))));
  }
  return lines;
}

async function describe(device: string, parent: string): Promise<string[]> {
  // A device may go at any time.
  const filters = await listFilters(device, parent).catch(() => []);
  return filters
    .filter(isOurFilter)
    .map(
      ({ pref, kind, chain }) =>
        `${device} ${parent} filter pref ${pref} ${kind}${chain === 0 ? '' : ` chain ${chain}`}`,
    );
}
