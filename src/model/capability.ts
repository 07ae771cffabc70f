/** Where a capability comes from: what a kernel needs to have it. */
export interface CapabilitySource {
  /** Kernel modules, of which each has a part of it; none where it is always part of the kernel itself. */
  readonly modules: readonly string[];
  /** Options of the kernel's configuration. */
  readonly config: readonly string[];
  /** The first Linux that has it whole, where that is later than 4.19. */
  readonly since?: string | undefined;
}

/**
 * What Headgate, or one of its datapaths, needs of a kernel and of the tools that talk to it, named in the words of
 * tc(8) and nft(8). Each is found out by trying (src/kernel/probe.ts).
 */
export const CAPABILITIES = {
  'device ifb': { modules: ['ifb'], config: ['CONFIG_IFB'] },
  'qdisc ingress': { modules: ['sch_ingress'], config: ['CONFIG_NET_SCH_INGRESS'] },
  'qdisc clsact': { modules: ['sch_ingress'], config: ['CONFIG_NET_SCH_INGRESS'] },
  'qdisc htb': { modules: ['sch_htb'], config: ['CONFIG_NET_SCH_HTB'] },
  'qdisc prio': { modules: ['sch_prio'], config: ['CONFIG_NET_SCH_PRIO'] },
  'qdisc cake': { modules: ['sch_cake'], config: ['CONFIG_NET_SCH_CAKE'] },
  'qdisc fq_codel': { modules: ['sch_fq_codel'], config: ['CONFIG_NET_SCH_FQ_CODEL'] },
  'qdisc sfq': { modules: ['sch_sfq'], config: ['CONFIG_NET_SCH_SFQ'] },
  'qdisc tbf': { modules: ['sch_tbf'], config: ['CONFIG_NET_SCH_TBF'] },
  'qdisc bfifo': { modules: [], config: ['CONFIG_NET_SCHED'] },
  'classifier bpf': {
    modules: ['cls_bpf', 'nf_conntrack'],
    config: ['CONFIG_NET_CLS_BPF', 'CONFIG_DEBUG_INFO_BTF', 'CONFIG_DEBUG_INFO_BTF_MODULES'],
    since: '5.18',
  },
  'classifier u32': { modules: ['cls_u32'], config: ['CONFIG_NET_CLS_U32'] },
  'classifier u32 mark': { modules: ['cls_u32'], config: ['CONFIG_CLS_U32_MARK'] },
  'classifier fw': { modules: ['cls_fw'], config: ['CONFIG_NET_CLS_FW'] },
  'classifier flower': { modules: ['cls_flower'], config: ['CONFIG_NET_CLS_FLOWER'] },
  'classifier flower ct_state': { modules: ['cls_flower'], config: ['CONFIG_NET_CLS_FLOWER'], since: '5.12' },
  'action mirred': { modules: ['act_mirred'], config: ['CONFIG_NET_ACT_MIRRED'] },
  'action gact': { modules: ['act_gact'], config: ['CONFIG_NET_ACT_GACT'] },
  'action skbedit': { modules: ['act_skbedit'], config: ['CONFIG_NET_ACT_SKBEDIT'] },
  'action police': { modules: ['act_police'], config: ['CONFIG_NET_ACT_POLICE'] },
  'action ct': { modules: ['act_ct'], config: ['CONFIG_NET_ACT_CT'] },
  'action connmark': { modules: ['act_connmark'], config: ['CONFIG_NET_ACT_CONNMARK'] },
  'action ctinfo': { modules: ['act_ctinfo'], config: ['CONFIG_NET_ACT_CTINFO'] },
  'nft inet': { modules: ['nf_tables'], config: ['CONFIG_NF_TABLES', 'CONFIG_NF_TABLES_INET'] },
  'nft ct': { modules: ['nft_ct'], config: ['CONFIG_NFT_CT', 'CONFIG_NF_CONNTRACK_MARK'] },
  'nft netdev': { modules: ['nf_tables'], config: ['CONFIG_NF_TABLES_NETDEV', 'CONFIG_NETFILTER_INGRESS'] },
  'nft priority': { modules: ['nf_tables'], config: ['CONFIG_NF_TABLES_NETDEV'] },
  'nft fwd': { modules: ['nft_fwd_netdev'], config: ['CONFIG_NFT_FWD_NETDEV'] },
  'nft dup': { modules: ['nft_dup_ipv4', 'nft_dup_ipv6'], config: ['CONFIG_NFT_DUP_IPV4', 'CONFIG_NFT_DUP_IPV6'] },
  'nft limit': { modules: ['nft_limit'], config: ['CONFIG_NFT_LIMIT'] },
  'nft log': { modules: ['nft_log', 'nfnetlink_log'], config: ['CONFIG_NFT_LOG', 'CONFIG_NETFILTER_NETLINK_LOG'] },
  'conntrack events': {
    modules: ['nf_conntrack_netlink'],
    config: ['CONFIG_NF_CT_NETLINK', 'CONFIG_NF_CONNTRACK_EVENTS'],
  },
  'conntrack marks': {
    modules: ['nf_conntrack_netlink'],
    config: ['CONFIG_NF_CT_NETLINK', 'CONFIG_NF_CONNTRACK_MARK'],
  },
  'sysctl nf_conntrack_events': { modules: ['nf_conntrack'], config: ['CONFIG_NF_CONNTRACK_EVENTS'] },
  'sysctl nf_conntrack_acct': { modules: ['nf_conntrack'], config: ['CONFIG_NF_CONNTRACK'] },
  'sysctl nf_conntrack_timestamp': { modules: ['nf_conntrack'], config: ['CONFIG_NF_CONNTRACK_TIMESTAMP'] },
} as const satisfies Record<string, CapabilitySource>;

export type Capability = keyof typeof CAPABILITIES;
export const CAPABILITY_NAMES = Object.keys(CAPABILITIES) as readonly Capability[];

/**
 * What came of trying. `no`: refused, in the words of the kernel or of the tool, or accepted and then not done.
 * `unknown`: the trial itself could not be made, and says nothing of the kernel; `without` names the capabilities for
 * want of which it could not.
 */
export type Finding =
  | { readonly answer: 'yes' }
  | { readonly answer: 'no'; readonly why: string }
  | { readonly answer: 'unknown'; readonly why: string; readonly without?: readonly Capability[] | undefined };

/** What a kernel can do, as far as it was found out. A value; getCapabilities of src/kernel finds it. */
export interface Capabilities {
  /** Of the kernel, as uname(1) tells it. */
  readonly release: string;
  /** When it was found, ms since 1970. */
  readonly time: number;
  readonly findings: Readonly<Record<Capability, Finding>>;
}

/** True where the trial showed it; false also where it could not be told. */
export const can = (capabilities: Capabilities, capability: Capability): boolean =>
  capabilities.findings[capability].answer === 'yes';

/** True where trying again would find the same: nothing hung, no right was missing, nothing of ours failed. */
export function isSettled(findings: Capabilities['findings'], capability: Capability): boolean {
  const finding = findings[capability];
  if (finding.answer !== 'unknown') return true;
  return finding.without?.some((need) => findings[need].answer !== 'yes' && isSettled(findings, need)) ?? false;
}
