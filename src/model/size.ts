const UNITS = [
  ['TB', 1e12],
  ['GB', 1e9],
  ['MB', 1e6],
  ['kB', 1e3],
] as const;

/** Bytes to three digits, for people: `7.3MB`; `gap` stands before the unit. */
export function formatSizeInShort(bytes: number, gap = ''): string {
  const [unit, size] = UNITS.find(([, one]) => bytes >= one) ?? ['B', 1];
  return `${Number((bytes / size).toPrecision(3))}${gap}${unit}`;
}
