import type { Datapath } from './datapath.ts';
import type { Operation } from './operation.ts';
import { batch } from './tc-batch.ts';
import { filterArguments, type TcFilter } from './tc-filter.ts';

/** The next one's filters are in force before those of the one before go: no packet passes between them. */
export function replaceFilters(was: Operation, next: Operation, { inPlace }: Pick<Datapath, 'inPlace'>): Operation[] {
  if (!inPlace) {
    const gone = was.undo ? { command: was.undo, undo: was.command } : undefined;
    return [
      { ...next, of: 'filters' },
      ...(gone ? [{ ...gone, about: `${was.about} no more as before`, of: 'filters' } as const] : []),
    ];
  }
  const [surplus, missing] = [surplusOf(was, next), surplusOf(next, was)];
  if (surplus.length === 0 && missing.length === 0) return [{ ...next, of: 'filters', undo: was.command }];
  // Of several filters each takes the place of one by its number; what has no such number comes or goes by itself.
  const restore = batch('tc', [...replaceLines(was), ...missing.map((f) => delLine(next, f))], 'go on');
  const removal: Operation = {
    about: `${was.about} no more as before`,
    of: 'filters',
    command: batch(
      'tc',
      surplus.map((f) => delLine(was, f)),
    ),
    undo: restore,
  };
  return [{ ...next, of: 'filters', undo: restore }, ...(surplus.length > 0 ? [removal] : [])];
}

/** Filters of the first that have no counterpart in the second. */
const surplusOf = ({ filters: a }: Operation, { filters: b }: Operation): TcFilter[] =>
  (a?.filters ?? []).filter((one) => !b?.filters.some(({ pref, chain }) => pref === one.pref && chain === one.chain));

const replaceLines = ({ filters: of }: Operation): string[][] =>
  of!.filters.map((filter) => ['filter', 'replace', ...filterArguments(of!, filter)]);

const delLine = ({ filters: of }: Operation, { pref }: TcFilter): string[] => {
  const { device, parent } = of!;
  return ['filter', 'del', 'dev', device, ...(parent === 'ingress' ? [parent] : ['parent', parent]), 'pref', `${pref}`];
};
