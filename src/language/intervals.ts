/** Numbers in stretches: the first of each is in it, the second no more; in ascending order, each apart from the next. */
export type Intervals<T extends number | bigint> = readonly (readonly [T, T])[];

export function intersect<T extends number | bigint>(a: Intervals<T>, b: Intervals<T>): Intervals<T> {
  if (a === b) return a;
  const both: (readonly [T, T])[] = [];
  for (let i = 0, j = 0; i < a.length && j < b.length; ) {
    const [x, y] = [a[i]!, b[j]!];
    const first = x[0] > y[0] ? x[0] : y[0];
    const end = x[1] < y[1] ? x[1] : y[1];
    if (first < end) both.push([first, end]);
    if (x[1] < y[1]) i++;
    else j++;
  }
  return both;
}

/** They have something in common: as {@link intersect}, but that it makes nothing. */
export function overlap<T extends number | bigint>(a: Intervals<T>, b: Intervals<T>): boolean {
  for (let i = 0, j = 0; i < a.length && j < b.length; ) {
    const [x, y] = [a[i]!, b[j]!];
    if (x[0] < y[1] && y[0] < x[1]) return true;
    if (x[1] < y[1]) i++;
    else j++;
  }
  return false;
}

export function unite<T extends number | bigint>(a: Intervals<T>, b: Intervals<T>): Intervals<T> {
  const all = [...a, ...b].sort(([x], [y]) => (x < y ? -1 : x > y ? 1 : 0));
  const united: [T, T][] = [];
  for (const [first, end] of all) {
    const last = united.at(-1);
    if (last && first <= last[1]) last[1] = last[1] > end ? last[1] : end;
    else united.push([first, end]);
  }
  return united;
}

/** All of `part` is in `whole`. */
export function contains<T extends number | bigint>(whole: Intervals<T>, part: Intervals<T>): boolean {
  let i = 0;
  for (const [first, end] of part) {
    while (i < whole.length && whole[i]![1] < end) i++;
    if (i === whole.length || whole[i]![0] > first) return false;
  }
  return true;
}

/** What is in `whole` and not in `part`. */
export function subtract<T extends number | bigint>(whole: Intervals<T>, part: Intervals<T>): Intervals<T> {
  const left: (readonly [T, T])[] = [];
  let j = 0;
  for (const [start, end] of whole) {
    let first = start;
    while (j < part.length && part[j]![1] <= first) j++;
    for (let k = j; k < part.length && part[k]![0] < end; k++) {
      const [from, to] = part[k]!;
      if (first < from) left.push([first, from]);
      if (first < to) first = to;
    }
    if (first < end) left.push([first, end]);
  }
  return left;
}

const bits = new DataView(new ArrayBuffer(8));

/** The least number above `x`, which is not negative: so that `> x` is a stretch like others. */
export function nextUp(x: number): number {
  if (x === Number.POSITIVE_INFINITY) return x;
  bits.setFloat64(0, x === 0 ? 0 : x);
  bits.setBigUint64(0, bits.getBigUint64(0) + 1n);
  return bits.getFloat64(0);
}
