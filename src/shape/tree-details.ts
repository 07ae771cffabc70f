import { formatRate, type Rate } from '../model/index.ts';
import { formatHandle, LINK_MINOR } from './names.ts';
import type { Detail, ValueChange } from './operation.ts';
import type { Tree, TreeClass } from './tree.ts';
import { leafArguments } from './tree-commands.ts';

/** For people: what of a tree becomes what, class by class; nothing of what is equal, nor of classes that go. */
export function describeTreeChange(major: number, from: Tree, to: Tree): Detail[] {
  const old = new Map(from.classes.map((c) => [c.minor, c]));
  const line = valuesBetween(lineOf(from), lineOf(to));
  const whole = to.kind === 'htb' ? `all queues, class ${formatHandle(major, LINK_MINOR)}` : `all queues, ${to.kind}`;
  return [
    ...(line.length > 0 ? [{ object: whole, values: line }] : []),
    ...to.classes.flatMap((c): Detail[] => {
      const was = old.get(c.minor);
      const values = valuesBetween(was && classOf(major, from, was), classOf(major, to, c));
      return values.length > 0 ? [{ object: nameOf(major, c), values }] : [];
    }),
  ];
}

/** The same of classes that go. */
export const describeGone = (major: number, { classes }: Tree, minors: readonly number[]): Detail[] =>
  classes
    .filter(({ minor }) => minors.includes(minor))
    .map((c) => ({ object: nameOf(major, c), values: [{ name: 'rate', from: formatRate(c.rate) }] }));

/** In one line: `queue seed, class 7fe0:2: rate 5mbit -> 8mbit, ceil none -> 40mbit`. */
export const formatDetail = ({ object, values }: Detail): string =>
  `${object}: ${values.map(({ name, from = 'none', to = 'none' }) => `${name} ${from} -> ${to}`).join(', ')}`;

type Values = Readonly<Record<string, string | number | undefined>>;

const lineOf = ({ rate, overhead, cake }: Tree): Values => ({
  rate,
  overhead: overhead && `${overhead.bytes} mpu ${overhead.mpu} ${overhead.linkLayer}`,
  tins: cake && [cake.mode, cake.fair].filter(Boolean).join(' '),
});

/** Of prio and cake a class has no numbers: it is a band, or a tin. */
function classOf(major: number, { kind }: Tree, c: TreeClass): Values {
  const { queue, parent, rate, ceil, burst, cburst, quantum, prio } = c;
  const numbers = { below: formatHandle(major, parent), rate, ceil, burst, cburst, quantum, prio };
  return { queue, ...(kind === 'htb' && numbers), leaf: c.leaf && leafArguments(c.leaf).join(' ') };
}

const nameOf = (major: number, { queue, minor }: TreeClass): string =>
  `queue ${queue}, class ${formatHandle(major, minor)}`;

const valuesBetween = (from: Values = {}, to: Values): ValueChange[] =>
  Object.keys(to).flatMap((name) => {
    const [was, is] = [from[name], to[name]];
    return was === is ? [] : [{ name, ...sayBoth(name, was, is) }];
  });

/** Rates are rounded where they are told apart all the same. */
function sayBoth(name: string, from: Values[string], to: Values[string]): Omit<ValueChange, 'name'> {
  const exact = (value: Values[string]) => (value === undefined ? undefined : `${value}`);
  if (!RATES.has(name)) return { from: exact(from), to: exact(to) };
  const rate = (value: Values[string]) => (value === undefined ? undefined : formatRate(value as Rate));
  const [was, is] = [rate(from), rate(to)];
  return was === is ? { from: `${from}bit`, to: `${to}bit` } : { from: was, to: is };
}

const RATES = new Set(['rate', 'ceil']);
