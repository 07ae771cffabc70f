import { type Filter, setBpfValue } from '../kernel/index.ts';
import { isOurFilter } from '../shape/index.ts';

/** Gives a map of one value to all our classifiers among the filters; those that only pick what others have classified have none. */
export function setPrograms(filters: readonly Filter[], map: string, value: bigint): void {
  for (const { programId } of filters.filter(isOurFilter))
    if (programId !== undefined) setBpfValue(programId, map, value);
}

/** So many ms from now on the classifiers' clock: CLOCK_MONOTONIC, in ns. */
export const inMs = (ms: number): bigint => process.hrtime.bigint() + BigInt(Math.ceil(ms)) * 1_000_000n;
