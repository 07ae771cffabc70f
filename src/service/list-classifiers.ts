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

/** What gives the packets of these links their classes, a line each: `wan ingress filter pref 32736 bpf`, `wan chain netdev headgate arrive-wan`. */
export async function listClassifiers(shapes: readonly LinkShape[], datapath: Datapath): Promise<string[]> {
  const lines = await Promise.all(
    shapes.flatMap(({ device, ifbs, upload }) => [
      ...(ifbs.length > 0
        ? [
            datapath.hook
              ? describe(device, 'ingress')
              : [`${device} chain ${ARRIVAL_FAMILY} ${TABLE} ${arrivalChain(device)}`],
          ]
        : []),
      ...(upload ? [describe(device, formatHandle(UPLOAD_MAJOR))] : []),
    ]),
  );
  return lines.flat();
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
