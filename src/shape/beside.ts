import { changeTree } from './change-tree.ts';
import type { IfbShape } from './ifb.ts';
import type { LinkShape } from './link.ts';
import { besideName, DOWNLOAD_MAJOR } from './names.ts';

/**
 * The shapes with the names that their ifbs are to have next to those in force: an ifb that can become what it is to be,
 * with no packet lost, keeps its name, and one that cannot is made beside, by the other name.
 */
export function nameBeside(inForce: readonly LinkShape[], shapes: readonly LinkShape[]): LinkShape[] {
  const used = new Set(inForce.flatMap(({ ifbs }) => ifbs.map(({ name }) => name)));
  return renameIfbs(shapes, (shape) => {
    const old = inForce.find(({ device, shares }) => device === shape.device && shares === undefined);
    if (old && old.numtxqueues === shape.numtxqueues && areOneByOne(old.ifbs, shape.ifbs, canBecome))
      return old.ifbs.map(({ name }) => name);
    const names = shape.ifbs.map(({ name }) => name);
    return names.some((name) => used.has(name)) ? names.map(besideName) : names;
  });
}

/** The shapes with the names by which their ifbs are there, where one is by its other name alone. */
export const nameAsThere = (shapes: readonly LinkShape[], there: ReadonlySet<string>): LinkShape[] =>
  renameIfbs(shapes, ({ ifbs }) =>
    ifbs.map(({ name }) => (!there.has(name) && there.has(besideName(name)) ? besideName(name) : name)),
  );

/** The shapes with the names that their ifbs have, by device. */
export const nameAs = (shapes: readonly LinkShape[], names: ReadonlyMap<string, readonly string[]>): LinkShape[] =>
  renameIfbs(shapes, ({ device, ifbs }) => ifbs.map(({ name }, i) => names.get(device)?.[i] ?? name));

function renameIfbs(shapes: readonly LinkShape[], namesOf: (owner: LinkShape) => readonly string[]): LinkShape[] {
  const owned = shapes.map((shape) => {
    if (shape.shares !== undefined || shape.ifbs.length === 0) return shape;
    const names = namesOf(shape);
    return { ...shape, ifbs: shape.ifbs.map((ifb, i) => ({ ...ifb, name: names[i]! })) };
  });
  return owned.map((shape) =>
    shape.shares === undefined ? shape : { ...shape, ifbs: owned.find(({ device }) => device === shape.shares)!.ifbs },
  );
}

const canBecome = (was: IfbShape, is: IfbShape): boolean =>
  (was.name === is.name || was.name === besideName(is.name)) &&
  changeTree(was.name, DOWNLOAD_MAJOR, was.tree, is.tree)?.loses === false;

const areOneByOne = <T>(a: readonly T[], b: readonly T[], fits: (a: T, b: T) => boolean): boolean =>
  a.length === b.length && a.every((one, i) => fits(one, b[i]!));
