import type { Datapath } from './datapath.ts';
import { FILTER_PREF, formatHandle, UPLOAD_MAJOR } from './names.ts';
import { removeRedirect } from './redirect.ts';
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
export function bpfDatapath(objects: BpfObjects): Datapath {
  const filter = (section: keyof BpfObjects, actions: TcFilter['actions']): TcFilter => ({
    chain: 0,
    pref: FILTER_PREF,
    protocol: 'all',
    match: { kind: 'bpf', object: objects[section], section },
    actions,
  });
  const replace = (place: FilterPlace, one: TcFilter) => ({
    command: tc('filter', 'replace', ...filterArguments(place, one)),
    filters: { ...place, filters: [one] },
  });
  return {
    name: 'bpf',
    hook: true,
    marksOrigin: false,
    leavesByNft: false,
    redirect: (device, ifb) => [
      {
        about: `redirect what arrives on ${device} to ${ifb}`,
        ...replace({ device, parent: 'ingress' }, filter('ingress', [{ kind: 'redirect', device: ifb }])),
        undo: removeRedirect(device),
      },
    ],
    unredirect: (device) => [removeRedirect(device)],
    classifyLeaving: (device) => [
      {
        about: `classify what leaves ${device}`,
        ...replace({ device, parent: formatHandle(UPLOAD_MAJOR) }, filter('egress', [])),
      },
    ],
  };
}
