import type { Address } from '../model/index.ts';

/** An address as a key of maps. */
export const keyOf = (address: Address): string => String.fromCharCode(...address);
