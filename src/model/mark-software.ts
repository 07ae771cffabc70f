import type { MarkUse } from './mark-use.ts';

/** What of a kernel tells which software is at work. */
export interface SoftwareTraces {
  /** Names of tables and chains of nft, and of chains of iptables. */
  readonly names: readonly string[];
  readonly devices: readonly string[];
}

interface Software {
  readonly name: string;
  readonly names: RegExp;
  readonly devices?: RegExp | undefined;
  /** What it keeps for itself by its documentation, also where no rule shows it at the moment. */
  readonly uses: readonly Pick<MarkUse, 'of' | 'bits'>[];
}

/** Software that is known to use marks, by what it leaves in the kernel. */
const SOFTWARE: readonly Software[] = [
  {
    // "The firewall mask (default 0x3F00)": https://openwrt.org/docs/guide-user/network/wan/multiwan/mwan3
    name: 'mwan3',
    names: /^mwan3_/,
    uses: [{ of: 'ct', bits: 0x3f00 }],
  },
  {
    // "We claim bits 16:23 entirely": https://github.com/tailscale/tailscale/blob/main/tsconst/linuxfw.go
    name: 'Tailscale',
    names: /^ts-(?:input|forward|postrouting|prerouting|output)$/,
    devices: /^tailscale\d+$/,
    uses: [{ of: 'ct', bits: 0xff0000 }],
  },
  {
    // iptablesMasqueradeBit 14, and the kubelet's drop bit 15: https://kubernetes.io/docs/reference/config-api/kube-proxy-config.v1alpha1/
    name: 'kube-proxy',
    names: /^(?:KUBE-(?:SERVICES|MARK-MASQ|MARK-DROP|POSTROUTING|FIREWALL)|kube-proxy)$/,
    uses: [{ of: 'packet', bits: 0xc000 }],
  },
  {
    // iptablesMarkMask, nftablesMarkMask 0xffff0000: https://docs.tigera.io/calico/latest/reference/resources/felixconfig
    name: 'Calico',
    names: /^(?:cali-|filter-cali-|calico$)/,
    devices: /^(?:cali[0-9a-f]{11}|vxlan\.calico|bpfin\.cali)$/,
    uses: [{ of: 'ct', bits: 0xffff0000 }],
  },
  {
    // Identity in 0xffff00ff, kind in MARK_MAGIC_HOST_MASK 0x0f00, by BPF that no listing shows; of flows 0x80 alone:
    // https://github.com/cilium/cilium/blob/main/pkg/datapath/linux/linux_defaults/mark.go
    name: 'Cilium',
    names: /^(?:OLD_)?CILIUM_/,
    devices: /^cilium_(?:host|net|vxlan|geneve)$/,
    uses: [
      { of: 'packet', bits: 0xffff0fff },
      { of: 'ct', bits: 0x80 },
    ],
  },
  // Its mark is the table's number, 51820 and up; its rules show which: wg-quick(8), "Table".
  { name: 'wg-quick', names: /^wg-quick-/, uses: [] },
];

/** The software that such a name is of; undefined: nobody's that is known. */
export const softwareOf = (name: string): string | undefined => SOFTWARE.find(({ names }) => names.test(name))?.name;

/** What the software that left these traces keeps for itself. */
export function listSoftwareUses({ names, devices }: SoftwareTraces): MarkUse[] {
  return SOFTWARE.flatMap((software) => {
    const name = names.find((n) => software.names.test(n));
    const device = devices.find((d) => software.devices?.test(d));
    if (name === undefined && device === undefined) return [];
    const where = name === undefined ? `device ${device}` : `chain or table ${name}`;
    return software.uses.map((use) => ({ who: software.name, where: `${where}, by its documentation`, ...use }));
  });
}
