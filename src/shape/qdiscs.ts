import { type Capabilities, can } from '../model/index.ts';
import type { Qdisc } from './tree.ts';

const QDISCS: readonly Qdisc[] = ['bfifo', 'tbf', 'sfq', 'fq_codel', 'cake', 'prio'];

/** The qdiscs that trees can be made of here, beside htb; of one that could not be told it is not. */
export const qdiscsOf = (capabilities: Capabilities): Set<Qdisc> =>
  new Set(QDISCS.filter((kind) => can(capabilities, `qdisc ${kind}`)));
