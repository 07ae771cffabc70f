import { changedTrees, listOurMirrors, type Scene, standingOf, treeOn } from '../apply/index.ts';
import type { Policy } from '../language/index.ts';
import {
  type ChangedTree,
  changeLinks,
  changePolicy,
  type Detail,
  numberedQueues,
  type Operation,
  putBackTree,
  ROOT_LOSS,
  STEERED,
  treesOf,
} from '../shape/index.ts';
import { type Comparison, type Difference, differencesOf, lookBeside, makeBeside, type Wanted } from './applied.ts';

/** One step of a plan. */
export interface Change {
  /** `change`: in place; `replace`: by another beside it, in one step where nothing else is said. */
  readonly action: 'add' | 'change' | 'replace' | 'remove';
  /** In words: "add ifb hg-wan". */
  readonly about: string;
  /** The traffic that it touches; `none` where it touches no packet. */
  readonly touches: string;
  /** What changes in place, value by value. */
  readonly details?: readonly Detail[] | undefined;
}

export const told =
  (action: Change['action']) =>
  ({ about, touches = 'none', does, details }: Pick<Operation, 'about' | 'touches' | 'does' | 'details'>): Change => ({
    action: does ?? action,
    about,
    touches,
    ...(details && details.length > 0 && { details }),
  });

/** What is to be put back of the policy in force, and then the steps that make of it the other one. @throws HeadgateError HG_KERNEL */
export async function planBetween(
  from: Wanted,
  to: Wanted,
  scene: Scene,
): Promise<{ readonly differences: readonly Difference[]; readonly changes: readonly Change[] }> {
  const was = await lookBeside(from, scene);
  const made = await makeBeside(to, scene);
  const trees = changedTrees(treesOf(from.shapes), was.made, was.there);
  const odd = oddOf(from, was, trees, scene);
  const isOdd = ({ object }: Difference) => odd.some((other) => other.object === object);
  const between = differencesOf({ there: was.made, made });
  return {
    differences: [...odd, ...between.filter((difference) => !isOdd(difference))],
    changes: [
      ...odd.map((difference) => putBack(difference, trees)),
      ...changesBetween(from, to, scene, between),
      ...renumbering(from.policy, to.policy),
    ],
  };
}

/**
 * What of the policy in force is not as it was made. What stands beside it is not: what another reload has left until it
 * is confirmed, and what others have added. An ifb that has gone, the steps themselves make; of what is set at one, and of
 * the part of a device that is away, nobody puts anything back.
 */
function oddOf({ shapes }: Wanted, compared: Comparison, trees: readonly ChangedTree[], scene: Scene): Difference[] {
  const present = new Set(scene.devices.map(({ name }) => name));
  const places = shapes.flatMap(({ device, ifbs }) => [device, ...ifbs.map(({ name }) => name)]);
  const away = places.filter((name) => !present.has(name));
  return differencesOf(compared).filter(({ object, there, wanted }) => {
    if (!wanted || object.startsWith('ifb ') || away.some((name) => object.endsWith(` on ${name}`))) return false;
    return !object.startsWith(treeOn('')) || !there || trees.some(({ place }) => object === treeOn(place.device));
  });
}

function putBack({ object, there }: Difference, trees: readonly ChangedTree[]): Change {
  const tree = trees.find(({ place }) => object === treeOn(place.device));
  if (tree) return told('change')(putBackTree(tree));
  const touches = object.startsWith('filters on') ? STEERED : object.startsWith(treeOn('')) ? ROOT_LOSS : 'none';
  return { action: there ? 'change' : 'add', about: `put back ${object}`, touches };
}

/** The steps of a reload, without those whose objects are the same in both. */
function changesBetween(from: Wanted, to: Wanted, scene: Scene, between: readonly Difference[]): Change[] {
  const names = new Set(from.shapes.flatMap(({ ifbs }) => ifbs.map(({ name }) => name)));
  const present = new Set(scene.devices.map(({ name }) => name));
  const absent = new Set(from.shapes.map(({ device }) => device).filter((device) => !present.has(device)));
  const own = { ...scene, ifbs: scene.ifbs.filter(({ device }) => names.has(device.name)) };
  const links = changeLinks(from, to, standingOf(own, absent));
  const { before, after } = changePolicy(from, to, listOurMirrors(scene), links);
  const differs = (object: RegExp) => between.some((d) => object.test(d.object));
  const isIdle = ({ of, filters }: Operation): boolean => {
    if (of === undefined) return false;
    if (of === 'tables') return !differs(/^table /);
    // Those that are no filters of tc are a chain of the table.
    if (!filters) return !differs(/filters on |^table /);
    const object = `${filters.parent === 'ingress' ? '' : 'leaving '}filters on ${filters.device}`;
    return !between.some((d) => d.object === object);
  };
  return [...before.filter((operation) => !isIdle(operation)), ...after].map(told('change'));
}

/** Queues whose classes get other numbers: the flows in them are marked anew. */
function renumbering(from: Policy, to: Policy): Change[] {
  const now = new Map(numberedQueues(to).map(({ queue, number }) => [queue.name, number]));
  const moved = numberedQueues(from).flatMap(({ queue: { name }, number }) => {
    const next = now.get(name);
    return next === undefined || next === number ? [] : [{ name, number, next }];
  });
  if (moved.length === 0) return [];
  const names = moved.map(({ name }) => name).join(', ');
  const heir = (number: number) => [...now].find(([, other]) => other === number)?.[0];
  const waits = moved.flatMap(({ name, number }) => {
    const next = heir(number);
    return next === undefined ? [] : [`what waits as ${name} goes out as ${next}`];
  });
  return [
    {
      action: 'change',
      about: `mark the flows of ${names} anew`,
      touches: [
        'they stay in their queues, but for the milliseconds in which their packets carry the number of before',
        ...waits.map((what) => `${what}, where the ifb stays`),
      ].join('; '),
      details: moved.map(({ name, number, next }) => ({
        object: `queue ${name}`,
        values: [{ name: 'class', from: `${number}`, to: `${next}` }],
      })),
    },
  ];
}
