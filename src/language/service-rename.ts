import { findUses, type NamedThing, type OpenFile, type Place } from './service-files.ts';
import { RESERVED } from './vocabulary.ts';

/** Places where the new name is to be written; or why not, in a sentence. */
export type Renaming = { readonly places: readonly Place[] } | { readonly problem: string };

/** Renames a link, queue, set, constant or rule in all files of a policy; nothing where one of them cannot be read in full. */
export function renameThing(files: readonly OpenFile[], thing: NamedThing, name: string): Renaming {
  const broken = files.find((file) => file.broken);
  if (broken) return { problem: `${broken.source.file} has mistakes; put them right first` };
  if (RESERVED.has(name)) return { problem: `"${name}" is a word of the language and cannot be a name` };
  if (!/^[A-Za-z][A-Za-z0-9_]*(?:-[A-Za-z0-9_]+)*$/.test(name) || name.length > 63)
    return { problem: `"${name}" cannot be a name: letters a-z, digits, "_" and "-", at most 63, a letter first` };
  const taken = files.some(({ names }) =>
    names.some((n) => n.statement && n.name === name && clashes(n.kinds[0], thing)),
  );
  if (taken && name !== thing.name) return { problem: `there is a ${thing.kind} "${name}" already` };
  return { places: findUses(files, thing) };
}

/** Sets and constants stand at the same places, so one name for both would be read as the other. */
const clashes = (kind: string | undefined, thing: NamedThing): boolean => {
  const shared = ['set', 'let'];
  return kind === thing.kind || (shared.includes(thing.kind) && kind !== undefined && shared.includes(kind));
};
