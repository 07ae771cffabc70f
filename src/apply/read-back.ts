import { listFilters, type Where } from '../kernel/index.ts';
import { HeadgateError } from '../model/index.ts';
import { describeFilter, type Operation } from '../shape/index.ts';

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
