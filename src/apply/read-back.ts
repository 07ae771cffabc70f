import { getRootQdisc, getTcStats, listDevices, listFilters, type Where } from '../kernel/index.ts';
import { HeadgateError } from '../model/index.ts';
import {
  describeFilter,
  type Operation,
  type RootPlace,
  type TreeObject,
  type TreePlace,
  treeObjects,
} from '../shape/index.ts';

type Asked = NonNullable<Operation['filters']>;

/** The kernel holds all of the filters as they are asked for. */
export const holdsFilters = (asked: Asked): Promise<boolean> =>
  checkFilters(asked).then(
    () => true,
    (error) => {
      if (error instanceof HeadgateError && error.code === 'HG_FILTER_CHANGED') return false;
      throw error;
    },
  );

/**
 * Makes sure that the kernel holds the filters as they were asked for. Some kernels take a filter and leave out, in
 * silence, what they were built without.
 *
 * @throws HeadgateError HG_FILTER_CHANGED
 */
export async function checkFilters({ device, parent, filters }: Asked, where: Where = {}): Promise<void> {
  const listed = await listFilters(device, parent, where);
  const held = listed.map(({ filter, ...head }) => ({
    ...head,
    text: filter ? describeFilter(filter) : undefined,
  }));
  for (const filter of filters) {
    const asked = describeFilter(filter);
    if (held.some(({ text }) => text === asked)) continue;
    const instead = held.filter(({ chain, pref }) => chain === filter.chain && pref === filter.pref);
    throw new HeadgateError('HG_FILTER_CHANGED', {
      device,
      asked,
      held: instead.map(({ text, kind }) => text ?? `something else (${kind})`).join('; ') || 'nothing',
    });
  }
}

/**
 * Makes sure that the kernel holds every qdisc and class of a tree, each where it belongs, of its kind and with its rates.
 *
 * @throws HeadgateError HG_TREE_CHANGED
 */
export async function checkTree(place: TreePlace, where: Where = {}): Promise<void> {
  const index = (await listDevices(where)).find(({ name }) => name === place.device)?.index ?? 0;
  const netns = where.netns === undefined ? undefined : `/run/netns/${where.netns}`;
  const held = getTcStats(netns, index).map(({ rate, ceil, ...object }) =>
    // The kernel counts bytes a second.
    describe({ ...object, rates: { rate: rate * 8, ceil: ceil * 8 } }),
  );
  const missing = treeObjects(place)
    .map((object) => describe(object))
    .find((asked) => !held.includes(asked));
  if (missing === undefined) return;
  throw new HeadgateError('HG_TREE_CHANGED', { device: place.device, asked: missing, held: held.join('; ') });
}

/** Makes sure that a device's root qdisc is this one, to the last option. @throws HeadgateError HG_TREE_CHANGED */
export async function checkRoot({ device, root }: RootPlace, where: Where = {}): Promise<void> {
  const held = await getRootQdisc(device, where);
  if (held?.told === root.told) return;
  throw new HeadgateError('HG_TREE_CHANGED', { device, asked: root.told, held: held?.told ?? 'nothing' });
}

function describe({ kind, handle, parent, isClass, rates }: TreeObject): string {
  const [at, below] = [handle, parent].map((h) => `${(h >>> 16).toString(16)}:${(h & 0xffff).toString(16)}`);
  const bytes = isClass && kind === 'htb' && rates ? [rates.rate, rates.ceil].map((r) => Math.floor(r / 8)) : [];
  return `${isClass ? 'class' : 'qdisc'} ${kind} ${at} below ${below}${bytes.length > 0 ? ` ${bytes.join(' to ')} B/s` : ''}`;
}
