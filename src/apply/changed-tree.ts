import {
  bandsOf,
  type ChangedTree,
  canChangeRoot,
  type Detail,
  formatHandle,
  LINK_MINOR,
  rootMajor,
  type TreePlace,
  type ValueChange,
} from '../shape/index.ts';
import { treeOn } from './built.ts';

/** Those of the trees that are there in both ({@link listBuilt}, {@link listTrees}), and not as they were made. */
export const changedTrees = (
  places: readonly TreePlace[],
  made: ReadonlyMap<string, string>,
  held: ReadonlyMap<string, string>,
): ChangedTree[] =>
  places.flatMap((place) => {
    const [was, is] = [made, held].map((objects) => objects.get(treeOn(place.device)));
    return (was && is && changedTree(place, was, is)) || [];
  });

/**
 * Compares the kernel's words of a tree when it was made with those of now: undefined where all that
 * is the tree's is as it was. What stands beside it is nobody's business here.
 */
export function changedTree(place: TreePlace, made: string, held: string): ChangedTree | undefined {
  const { major, tree } = place;
  // Bands that a change leaves standing go at its end, after the tree was looked at.
  const was = partsOf(tree.kind === 'prio' ? made.replace(/\bbands \d+/, `bands ${bandsOf(tree)}`) : made);
  const is = partsOf(held);
  const details: Detail[] = [];
  const differs = (part: string): boolean => {
    const [before, after] = [is.get(part), was.get(part)];
    if (after === undefined || before === after) return false;
    details.push({ object: part, values: valuesBetween(before, after) });
    return true;
  };
  const at = (minor: number) => formatHandle(major, minor);
  // What cannot be put back in place is left as it is.
  const root = canChangeRoot(tree) && differs('root');
  const bands = tree.kind === 'prio' && differs(`qdisc below ${formatHandle(rootMajor(tree, major), 1)}`);
  const classes = [LINK_MINOR, ...tree.classes.map(({ minor }) => minor)].filter((minor) =>
    tree.kind === 'htb' ? differs(`class ${at(minor)}`) : false,
  );
  const moved = classes.filter((minor) => {
    const [before, after] = [is.get(`class ${at(minor)}`), was.get(`class ${at(minor)}`)];
    return before !== undefined && parentOf(before) !== parentOf(after!);
  });
  const leaves = tree.classes.flatMap(({ minor }): [number, 'numbers' | 'another'][] => {
    const part = `qdisc below ${at(minor)}`;
    if (!differs(part)) return [];
    return [[minor, headOf(is.get(part)) === headOf(was.get(part)) ? 'numbers' : 'another']];
  });
  if (details.length === 0) return undefined;
  return {
    place,
    root,
    bands,
    classes: new Set(classes),
    moved: new Set(moved),
    leaves: new Map(leaves),
    details,
  };
}

/** The lines by what they are about, whatever it has become. */
const partsOf = (words: string): Map<string, string> =>
  new Map(
    words.split('\n').flatMap((line): [string, string][] => {
      const [what, , at] = line.split(' ');
      if (what === 'class') return [[`class ${at}`, line]];
      const parent = parentOf(line);
      return what === 'qdisc' ? [[parent === undefined ? 'root' : `qdisc below ${parent}`, line]] : [];
    }),
  );

const parentOf = (line: string): string | undefined => /\bparent (\S+)/.exec(line)?.[1];
/** Kind and handle. */
const headOf = (line = ''): string => line.split(' ').slice(1, 3).join(' ');

/** The words in which two lines of one object differ; the name of what a word says stands before it. */
function valuesBetween(is: string | undefined, was: string): ValueChange[] {
  const [before, after] = [is?.split(' '), was.split(' ')];
  if (before?.length !== after.length) return [{ name: after[0]!, from: is && bodyOf(is), to: bodyOf(was) }];
  return after.flatMap((to, i) => (to === before[i] ? [] : [{ name: after[i - 1]!, from: before[i]!, to }]));
}

const bodyOf = (line: string): string => line.split(' ').slice(1).join(' ');
