import type { MarkField } from '../model/index.ts';
import type { Datapath } from './datapath.ts';
import { FILTER_PREF, formatHandle, UPLOAD_MAJOR } from './names.ts';
import type { Operation } from './operation.ts';
import { tc } from './tc-batch.ts';
import { type FilterPlace, filterArguments, type TcFilter } from './tc-filter.ts';

/** Paths of the classifier's object, configured for what arrives and for what leaves. */
export interface BpfObjects {
  readonly ingress: string;
  readonly egress: string;
}

/**
 * `bpf`: our program (native-shim/bpf/steer.bpf.c) looks the flow up in conntrack, on both ways. Replacing the filter
 * while packets flow loses none.
 */
export function bpfDatapath(objects: BpfObjects, field: MarkField): Datapath {
  const unredirect = (device: string) => tc('filter', 'del', 'dev', device, 'ingress', 'pref', `${FILTER_PREF}`);
  return {
    name: 'bpf',
    field,
    hook: true,
    map: false,
    marksOrigin: false,
    leavesByNft: false,
    inPlace: true,
    redirect: (device, ifb) => ({
      about: `redirect what arrives on ${device} to ${ifb}`,
      ...replace({ device, parent: 'ingress' }, 'ingress', objects, [{ kind: 'redirect', device: ifb }]),
      undo: unredirect(device),
    }),
    unredirect,
    classifyLeaving: (device, { kind }) => ({
      about: `classify what leaves ${device}`,
      ...replace({ device, parent: formatHandle(UPLOAD_MAJOR) }, kind === 'cake' ? 'tin' : 'egress', objects, []),
    }),
  };
}

function replace(
  place: FilterPlace,
  section: 'ingress' | 'egress' | 'tin',
  objects: BpfObjects,
  actions: TcFilter['actions'],
): Pick<Operation, 'command' | 'filters'> {
  const filter: TcFilter = {
    chain: 0,
    pref: FILTER_PREF,
    protocol: 'all',
    match: { kind: 'bpf', object: objects[section === 'ingress' ? section : 'egress'], section },
    actions,
  };
  return {
    command: tc('filter', 'replace', ...filterArguments(place, filter)),
    filters: { ...place, filters: [filter] },
  };
}
