import { checkLink, inspect, isIngressHook } from '../apply/index.ts';
import { getSysctl, run } from '../kernel/index.ts';
import { overrideLink, type Policy } from '../language/index.ts';
import { type Capabilities, HeadgateError } from '../model/index.ts';
import { chooseDatapath, qdiscsOf, shapePolicy } from '../shape/index.ts';

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
}

const SYSCTLS = ['nf_conntrack_acct', 'nf_conntrack_timestamp', 'nf_conntrack_events'] as const;
export type SysctlName = (typeof SYSCTLS)[number];

/**
 * Looks at the caller's network namespace; changes nothing.
 *
 * @param policy one with a link, to ask for `device` what `up` would
 * @throws HeadgateError HG_NO_DEVICE; HG_NO_TOOL; HG_KERNEL, also where the rights to look are missing
 */
export async function lookHere(capabilities: Capabilities, policy: Policy, device?: string): Promise<Here> {
  const [scene, ruleset, ...values] = await Promise.all([
    inspect(),
    run(['nft', '--stateless', '--terse', 'list', 'ruleset']),
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
  };
}
