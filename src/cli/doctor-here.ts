import { checkLink, inspect, isIngressHook } from '../apply/index.ts';
import { getInstancePid, getSysctl, getUplinks, run } from '../kernel/index.ts';
import { getReadings } from '../kernel/readings.ts';
import { overrideLink, type Policy } from '../language/index.ts';
import { type Capabilities, type Concern, HeadgateError } from '../model/index.ts';
import { requestService } from '../service/ask.ts';
import { chooseDatapath, qdiscsOf, shapePolicy } from '../shape/index.ts';
import { listConcerns } from './doctor-checks.ts';
import { wantsOf } from './doctor-evidence.ts';
import { lookAtMarks, type MarksHere } from './doctor-marks.ts';

/** What of the caller's network namespace an admin should know before `headgate up`. */
export interface Here {
  /** Values of the sysctls; absent where they do not exist (yet: the kernel may not track connections). */
  readonly sysctls: Readonly<Record<SysctlName, string | undefined>>;
  /** Some rule of nftables puts flows into conntrack zones. */
  readonly zones: boolean;
  /** `wan: table netdev fw chain in`: chains and flowtables that see what arrives before tc would. */
  readonly ingressChains: readonly string[];
  /** `wan: clsact`. */
  readonly ingressQdiscs: readonly string[];
  /** What `headgate up` would say no to on the device that was asked about. */
  readonly refusals: readonly HeadgateError[];
  readonly marks: MarksHere;
  /** Conflicts and blind spots, the worst first. */
  readonly concerns: readonly Concern[];
}

/** What was asked about: a policy, a device, or neither. */
export interface Question {
  /** The policy to judge by; without a file, the one that `up` takes then. */
  readonly policy: Policy;
  /** A file was named. */
  readonly named: boolean;
  readonly device?: string | undefined;
}

const SYSCTLS = ['nf_conntrack_acct', 'nf_conntrack_timestamp', 'nf_conntrack_events'] as const;
export type SysctlName = (typeof SYSCTLS)[number];

/**
 * Looks at the caller's network namespace; changes nothing.
 *
 * @throws HeadgateError HG_NO_DEVICE; HG_NO_TOOL; HG_KERNEL, also where the rights to look are missing
 */
export async function lookHere(capabilities: Capabilities, question: Question): Promise<Here> {
  const { policy, named, device } = question;
  const wants = named
    ? wantsOf(overrideLink(policy, { device }))
    : { links: (device === undefined ? await getUplinks() : [device]).map((name) => ({ device: name })), clock: false };
  const devices = wants.links.map((link) => link.device);
  const [scene, readings, ruleset, hung, ...values] = await Promise.all([
    inspect(),
    getReadings(devices),
    run(['nft', '--stateless', '--terse', 'list', 'ruleset']),
    getHung(),
    ...SYSCTLS.map((name) => getSysctl(`net/netfilter/${name}`)),
  ]);
  const refusals: HeadgateError[] = [];
  const name = chooseDatapath(capabilities) ?? 'bpf';
  if (device !== undefined)
    for (const rates of [{ download: 1e8 }, { upload: 1e8 }])
      for (const shape of shapePolicy(overrideLink(policy, { device, ...rates }), qdiscsOf(capabilities)))
        try {
          checkLink(shape, scene, { name, hook: name !== 'map' });
        } catch (error) {
          if (!(error instanceof HeadgateError) || error.code === 'HG_NO_DEVICE') throw error;
          refusals.push(error);
        }
  return {
    sysctls: Object.fromEntries(SYSCTLS.map((name, i) => [name, values[i]])) as Here['sysctls'],
    // As iptables-nft writes its target CT, which may set one.
    zones: /\bct (?:original |reply )?zone set\b|xt target "CT"/.test(ruleset),
    ingressChains: scene.chains.map((chain) => `${chain.device}: ${chain.name}`),
    ingressQdiscs: scene.qdiscs.filter(isIngressHook).map((qdisc) => `${qdisc.device}: ${qdisc.kind}`),
    refusals,
    marks: await lookAtMarks(policy, chooseDatapath(capabilities) ?? 'bpf', scene),
    concerns: listConcerns({ readings, scene, wants, hung }),
  };
}

const getHung = async (): Promise<number | undefined> => ((await requestService()) ? undefined : getInstancePid());
