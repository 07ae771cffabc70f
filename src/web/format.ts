import { formatRate, formatSizeInShort } from '../model/index.ts';

/** Three digits and a unit: `12.3mbit`; nothing is `0`. */
export const rate = (value: number): string => (value < 1 ? '0' : formatRate(Number(value.toPrecision(3))));

/** `1.2 MB`. */
export const size = (bytes: number): string => formatSizeInShort(bytes, ' ');

/** `3 ms`, `4.2 s`, `5 min`. */
export function duration(ms: number): string {
  if (ms < 1000) return `${Math.round(ms)} ms`;
  if (ms < 60_000) return `${Number((ms / 1000).toPrecision(2))} s`;
  if (ms < 3_600_000) return `${Math.floor(ms / 60_000)} min`;
  return `${Math.floor(ms / 3_600_000)} h`;
}

export const percent = (part: number): string => `${Number((part * 100).toPrecision(3))}%`;
