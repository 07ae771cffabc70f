import type { Policy } from '../language/index.ts';
import type { Command, MarkField, Origin } from '../model/index.ts';
import { classOf, fieldOf, highestClass } from './classes.ts';
import type { IfbShape, Redirect } from './ifb.ts';
import type { Operation } from './operation.ts';
import type { EntryFilter } from './tc-filter.ts';
import type { Tree } from './tree.ts';

/** The ways in which a packet finds its class, best first: docs/architecture.md, "Four datapaths". */
export const DATAPATHS = ['bpf', 'ct', 'mark', 'map'] as const;
export type DatapathName = (typeof DATAPATHS)[number];

/**
 * How packets find their class in the kernel: what stands between a link and its ifb, and at its own tree. A value of
 * pure functions, made for one policy; a policy means the same on each, but for what docs/limits.md says.
 */
export interface Datapath {
  readonly name: DatapathName;
  /** The bits of the mark that hold a flow's class. */
  readonly field: MarkField;
  /** Its filters stand on a clsact or ingress qdisc of the device, before nft's chains there. */
  readonly hook: boolean;
  /** It finds classes by the arriving tuple, in a map that has to be kept (src/pipeline/tuple-map.ts). */
  readonly map: boolean;
  /** It knows a flow by its mark alone: every flow that crosses a link is marked, also one that goes by its origin. */
  readonly marksOrigin: boolean;
  /** Our nft table gives what leaves by the links its class. */
  readonly leavesByNft: boolean;
  /** What it makes takes the place of what the one before it made; else both stand side by side until that one's is undone. */
  readonly inPlace: boolean;
  /** The filters that packets enter by: without them everything passes. */
  readonly entries: readonly EntryFilter[];
  /** Name of the nft chain, of family {@link ARRIVAL_FAMILY}, that packets enter by on a device; absent: filters alone. */
  readonly chainOf?: ((device: string) => string) | undefined;
  /**
   * Classifies what arrives on the device and redirects it to the ifb that has its class. They must be up, and there is
   * one at least. Live when all of it is there.
   */
  redirect(device: string, ifbs: readonly IfbShape[]): Operation;
  /**
   * Lets what arrives pass untouched again. The redirect stops before the rest goes.
   * @param was what the device was called, and where it led, when it was redirected
   */
  unredirect(device: string, was: Redirect): Command;
  /**
   * Has all that arrives pass untouched from `ms` after now on, unless it is called again by then; undefined: never. Absent
   * where nft does not redirect: the program of `bpf` has a deadline of its own, tc's classifiers see no clock.
   */
  readonly passAfter?: ((ms: number | undefined) => Command) | undefined;
  /** Classifies what leaves by the device, whose tree is there; undefined where there is nothing to do. */
  classifyLeaving(device: string, tree: Tree): Operation | undefined;
}

/** What a datapath is told of a policy: the classes and how they stand in the mark. */
export interface ClassPlan {
  readonly field: MarkField;
  /** Classes have numbers from 1 to this; with cake not every one of them is a class. */
  readonly count: number;
  /** Where a flow goes that no rule has sent elsewhere. */
  readonly byOrigin: Readonly<Record<Origin, number>>;
  /** Devices on which what arrives makes its conntrack entry: `conntrack create`. */
  readonly creates: ReadonlySet<string>;
}

export function classPlanOf(policy: Policy, field: MarkField): ClassPlan {
  const { local, remote, new: unknown } = policy.defaults;
  return {
    field: fieldOf(policy, field),
    count: highestClass(policy),
    creates: creatingDevices(policy),
    byOrigin: { local: classOf(policy, local), remote: classOf(policy, remote), new: classOf(policy, unknown) },
  };
}

/** The datapath that can make conntrack entries for what arrives. */
export const CREATES: DatapathName = 'ct';

/** Devices of the links that say `conntrack create`. */
export const creatingDevices = ({ links }: Pick<Policy, 'links'>): ReadonlySet<string> =>
  new Set(links.flatMap(({ device, conntrack }) => (device !== undefined && conntrack === 'create' ? [device] : [])));
