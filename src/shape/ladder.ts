import { type Capabilities, type Capability, type Finding, HeadgateError } from '../model/index.ts';
import { CREATES, DATAPATHS, type DatapathName } from './datapath.ts';
import type { LinkShape } from './link.ts';

/** Of each group one is enough. */
type Needs = readonly (readonly Capability[])[];

/** What none can do without: an ifb with a tree, and connections that are tracked. */
const EVERY: Needs = [
  ['device ifb'],
  ['qdisc htb', 'qdisc prio', 'qdisc cake'],
  ['nft inet'],
  ['nft ct'],
  ['conntrack events'],
  ['conntrack marks'],
];
const REDIRECT: Needs = [['qdisc clsact', 'qdisc ingress'], ['action mirred']];

const NEEDS: Readonly<Record<DatapathName, Needs>> = {
  bpf: [...EVERY, ...REDIRECT, ['classifier bpf']],
  ct: [
    ...EVERY,
    ...REDIRECT,
    ['classifier u32'],
    ['classifier flower'],
    ['action ct'],
    ['classifier flower ct_state'],
    ['action gact'],
    ['action skbedit'],
  ],
  mark: [
    ...EVERY,
    ...REDIRECT,
    ['classifier u32'],
    ['action ctinfo', 'action connmark'],
    ['classifier fw'],
    ['action gact'],
    ['action skbedit'],
  ],
  map: [...EVERY, ['nft netdev'], ['nft priority'], ['nft fwd']],
};

/** One datapath: whether it works here, and if not, for want of what. */
export interface Rung {
  readonly datapath: DatapathName;
  readonly answer: Finding['answer'];
  /** Empty where it works. Of one that does not: what is known to be missing; of one that is not known to: what could not be told. */
  readonly lacks: readonly Lack[];
}

/** Any one of these would do. */
export type Lack = readonly Capability[];

/** Every datapath, best first. */
export const ladderOf = (capabilities: Capabilities): Rung[] =>
  DATAPATHS.map((datapath) => {
    const answerOf = (group: Lack): Finding['answer'] => {
      const answers = group.map((capability) => capabilities.findings[capability].answer);
      return answers.includes('yes') ? 'yes' : answers.includes('unknown') ? 'unknown' : 'no';
    };
    const groups = NEEDS[datapath].map((group) => ({ group, answer: answerOf(group) }));
    const worst = (['no', 'unknown', 'yes'] as const).find((a) => groups.some(({ answer }) => answer === a))!;
    const lacks = worst === 'yes' ? [] : groups.filter(({ answer }) => answer === worst).map(({ group }) => group);
    return { datapath, answer: worst, lacks };
  });

/** The datapath that is taken where nobody names one: the best that works; undefined: none does. */
export const chooseDatapath = (capabilities: Capabilities): DatapathName | undefined =>
  ladderOf(capabilities).find(({ answer }) => answer === 'yes')?.datapath;

/** @throws HeadgateError HG_CREATE_DATAPATH where the link wants conntrack entries, and the datapath makes none */
export function ensureCreates({ link, creates }: Pick<LinkShape, 'link' | 'creates'>, datapath: DatapathName): void {
  if (creates && datapath !== CREATES) throw new HeadgateError('HG_CREATE_DATAPATH', { link, datapath });
}
