import type { MarkField } from '../model/index.ts';
import type { Datapath } from './datapath.ts';
import { removeFilters } from './filter-set.ts';
import { aboutRedirect, type IfbShape } from './ifb.ts';
import { FILTER_PREF, formatHandle, PICK_PREF, SECOND_PICK_PREF, UPLOAD_MAJOR } from './names.ts';
import type { Operation } from './operation.ts';
import { batch, tc } from './tc-batch.ts';
import {
  BPF_HANDLE,
  type EntryFilter,
  type FilterPlace,
  filterArguments,
  type TcFilter,
  type TcMatch,
} from './tc-filter.ts';

/** Paths of the classifier's object, as it is configured. */
export interface BpfObjects {
  /** For what arrives, and for what leaves. */
  readonly ingress: string;
  readonly egress: string;
  /** For what arrives at a link that has several ifbs, and for each of those: what picks the packets of its classes. */
  readonly sort: string;
  readonly picks: readonly string[];
}

/**
 * `bpf`: our program (native-shim/bpf/steer.bpf.c) looks the flow up in conntrack, on both ways. Replacing the filter
 * while packets flow loses none.
 *
 * Where a link has several ifbs, the program only says the class, and filters behind it, one for each ifb, take the
 * packets that are theirs. Those of another policy come to stand beside them, and take only what its program has
 * classified: replacing that one filter changes from one policy to the other.
 *
 * @param generation of the policy, whose parity the objects have, too
 */
export function bpfDatapath(objects: BpfObjects, field: MarkField, generation: number): Datapath {
  const prefOf = (_: IfbShape, place: number): number => (generation % 2 ? SECOND_PICK_PREF : PICK_PREF) + place;
  const unredirect: Datapath['unredirect'] = (device, { ifbs }) =>
    removeFilters(
      { device, parent: 'ingress' },
      [FILTER_PREF, ...(ifbs.length > 1 ? ifbs.map(prefOf) : [])].map(entryOf),
      [],
    );
  /** The one by which every packet enters is the last. */
  const arrivalFilters = (ifbs: readonly IfbShape[]): TcFilter[] => {
    const { ingress, sort, picks } = objects;
    if (ifbs.length === 1) return [filterOf(FILTER_PREF, program(ingress, 'ingress'), ifbs[0])];
    return [
      ...ifbs.map((ifb, i) => filterOf(prefOf(ifb, i), program(picks[i]!, 'pick'), ifb)),
      filterOf(FILTER_PREF, program(sort, 'sort')),
    ];
  };
  return {
    name: 'bpf',
    field,
    hook: true,
    map: false,
    marksOrigin: false,
    leavesByNft: false,
    inPlace: true,
    entries: [entryOf(FILTER_PREF)],
    redirect: (device, ifbs) => ({
      about: aboutRedirect(device, ifbs),
      ...replace({ device, parent: 'ingress' }, arrivalFilters(ifbs)),
      undo: unredirect(device, { device, ifbs }),
    }),
    unredirect,
    classifyLeaving: (device, { kind }) => ({
      about: `classify what leaves ${device}`,
      ...replace({ device, parent: formatHandle(UPLOAD_MAJOR) }, [
        filterOf(FILTER_PREF, program(objects.egress, kind === 'cake' ? 'tin' : 'egress')),
      ]),
    }),
  };
}

const entryOf = (pref: number): EntryFilter => ({ pref, kind: 'bpf', handle: BPF_HANDLE });

const program = (object: string, section: 'ingress' | 'sort' | 'pick' | 'egress' | 'tin'): TcMatch => ({
  kind: 'bpf',
  object,
  section,
});

const filterOf = (pref: number, match: TcMatch, ifb?: IfbShape): TcFilter => ({
  chain: 0,
  pref,
  protocol: 'all',
  match,
  actions: ifb ? [{ kind: 'redirect', device: ifb.name }] : [],
});

function replace(place: FilterPlace, filters: readonly TcFilter[]): Pick<Operation, 'command' | 'filters'> {
  const commands = filters.map((filter) => ['filter', 'replace', ...filterArguments(place, filter)]);
  const [only, ...others] = commands;
  return { command: others.length === 0 ? tc(...only!) : batch('tc', commands), filters: { ...place, filters } };
}
