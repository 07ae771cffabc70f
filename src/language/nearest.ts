/** Candidates that one suggestion looks at. */
const MAX_CANDIDATES = 1000;
const MAX_LENGTH = 40;

/**
 * The candidate that `word` was probably meant to be, or undefined where none is near: at most one edit (insert,
 * delete, replace, swap of neighbours) for every three letters, upper and lower case being alike.
 */
export function nearest(word: string, candidates: Iterable<string>): string | undefined {
  if (word.length > MAX_LENGTH) return undefined;
  const wanted = word.toLowerCase();
  let best: string | undefined;
  let distance = Math.max(1, Math.floor(word.length / 3)) + 1;
  let looked = 0;
  for (const candidate of candidates) {
    if (++looked > MAX_CANDIDATES) break;
    if (Math.abs(candidate.length - word.length) >= distance) continue;
    const d = edits(wanted, candidate.toLowerCase());
    // Of a word of two letters, an edit may leave nothing in common.
    if (d < distance && d < word.length) [best, distance] = [candidate, d];
  }
  return best;
}

export function didYouMean(word: string, candidates: Iterable<string>): string | undefined {
  const found = nearest(word, candidates);
  return found === undefined ? undefined : `did you mean "${found}"?`;
}

/** Names that a hint lists when none is near. */
const MAX_LISTED = 8;

/** The nearest name, or else the first few that there are. */
export function didYouMeanOneOf(word: string, names: readonly string[]): string | undefined {
  const listed = names.slice(0, MAX_LISTED).join(', ') + (names.length > MAX_LISTED ? ', ...' : '');
  return didYouMean(word, names) ?? (names.length > 0 ? `known: ${listed}` : undefined);
}

/** Optimal string alignment distance. */
function edits(a: string, b: string): number {
  let before: number[] = [];
  let last = Array.from({ length: b.length + 1 }, (_, j) => j);
  for (let i = 1; i <= a.length; i++) {
    const row = [i];
    for (let j = 1; j <= b.length; j++) {
      const same = a[i - 1] === b[j - 1];
      let cost = Math.min(row[j - 1]! + 1, last[j]! + 1, last[j - 1]! + (same ? 0 : 1));
      if (i > 1 && j > 1 && a[i - 1] === b[j - 2] && a[i - 2] === b[j - 1]) cost = Math.min(cost, before[j - 2]! + 1);
      row.push(cost);
    }
    [before, last] = [last, row];
  }
  return last[b.length]!;
}
