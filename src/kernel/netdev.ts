import { type Count, NOTHING } from '../model/index.ts';
import { isGone, run, type Where } from './command.ts';
import { listLegacyTables } from './legacy-tables.ts';

/** A network device as `ip -details link` tells it; only what Headgate looks at. */
export interface NetDevice {
  readonly index: number;
  readonly name: string;
  readonly up: boolean;
  /** `ifb`, `veth`, `vlan`, ...; absent for hardware. */
  readonly kind?: string | undefined;
  readonly alias?: string | undefined;
  /** `ether`, `ppp`, `none` (tun), ... (ll_type_n2a() of iproute2). */
  readonly linkType: string;
  /** Packets of its own queue, where the tree's unclassified ones wait. */
  readonly txqueuelen: number;
  readonly rx: DeviceCount;
  readonly tx: DeviceCount;
}

/**
 * Of an ifb `rx` is all that came to it, `dropped` of it what no filter redirected to it, `tx` what it has passed on
 * (drivers/net/ifb.c).
 */
export interface DeviceCount extends Count {
  readonly dropped: number;
}

/** A qdisc as `tc qdisc show` tells it. */
export interface Qdisc {
  readonly device: string;
  readonly kind: string;
  /** `7fe0:`; `0:` for what the kernel attached by itself. */
  readonly handle: string;
  readonly root: boolean;
}

/** What stands at a device's root, in tc's own words. */
export interface ToldRoot extends Pick<Qdisc, 'kind' | 'handle'> {
  readonly options: Readonly<Record<string, unknown>>;
  /** All of it in words, but for counters and for what differs from device to device: equal words, equal qdiscs. */
  readonly told: string;
  /** Qdiscs of its classes. */
  readonly children: number;
}

interface IpLink {
  ifindex: number;
  ifname: string;
  flags: string[];
  ifalias?: string;
  link_type: string;
  txqlen?: number;
  linkinfo?: { info_kind?: string };
  stats64?: { rx: DeviceCount; tx: DeviceCount };
}

export async function listDevices(where: Where = {}): Promise<NetDevice[]> {
  const links = await json<IpLink>(['ip', '-json', '-details', '-statistics', 'link', 'show'], where);
  return links.map((l) => ({
    index: l.ifindex,
    name: l.ifname,
    up: l.flags.includes('UP'),
    kind: l.linkinfo?.info_kind,
    alias: l.ifalias,
    linkType: l.link_type,
    // ip leaves a length of 0 out.
    txqueuelen: l.txqlen ?? 0,
    rx: countOf(l.stats64?.rx),
    tx: countOf(l.stats64?.tx),
  }));
}

const countOf = ({ packets, bytes, dropped }: DeviceCount = { ...NOTHING, dropped: 0 }): DeviceCount => ({
  packets,
  bytes,
  dropped,
});

export async function listQdiscs(where: Where = {}): Promise<Qdisc[]> {
  const qdiscs = await json<{ dev: string; kind: string; handle: string; root?: boolean }>(
    ['tc', '-json', 'qdisc', 'show'],
    where,
  );
  return qdiscs.map((q) => ({ device: q.dev, kind: q.kind, handle: q.handle, root: q.root === true }));
}

/** The root qdisc of a device; undefined where the device or its root is not there. */
export async function getRootQdisc(device: string, where: Where = {}): Promise<ToldRoot | undefined> {
  const argv = ['tc', '-json', '-raw', '-details', 'qdisc', 'show', 'dev', device] as const;
  const qdiscs = await json<ToldRoot & { root?: boolean; parent?: string; refcnt?: number }>(argv, where).catch(
    (error) => {
      if (isGone(error)) return [];
      throw error;
    },
  );
  const found = qdiscs.find(({ root }) => root);
  if (!found) return undefined;
  const { kind, handle, options = {}, refcnt: _, ...more } = found;
  return {
    kind,
    handle,
    options,
    told: JSON.stringify({ kind, handle, options, ...more }),
    children: qdiscs.filter(({ parent }) => parent?.startsWith(handle)).length,
  };
}

/** A chain or flowtable that sees what arrives on a device before tc hands it on. */
export interface IngressChain {
  readonly device: string;
  /** `table netdev fw chain in`, as nft writes it. */
  readonly name: string;
}

/** What others have hooked to netfilter that we must mind. */
export interface HookedChains {
  /** Chains of families netdev and inet at hook ingress, and flowtables, of all devices. */
  readonly ingress: readonly IngressChain[];
  /** Chains of type nat, as nft writes them, and the nat tables of the older iptables. Whether they hold rules is not told. */
  readonly nat: readonly string[];
  /** All tables of nft. */
  readonly tables: readonly { readonly family: string; readonly name: string }[];
}

export async function listHookedChains(where: Where = {}): Promise<HookedChains> {
  const [listed, ...legacy] = await Promise.all([
    run(['nft', 'list', 'tables;', 'list', 'chains;', 'list', 'flowtables'], where),
    ...(['iptables', 'ip6tables'] as const).map(async (tool) =>
      (await listLegacyTables(tool, where)).includes('nat') ? [`table nat of ${tool}-legacy`] : [],
    ),
  ]);
  return {
    ingress: readIngressChains(listed),
    nat: [...readNatChains(listed), ...legacy.flat()],
    tables: [...listed.matchAll(/^table (\w+) (\S+)$/gm)].map(([, family, name]) => ({ family: family!, name: name! })),
  };
}

/** Reads what `nft list chains` and `nft list flowtables` print. Its JSON leaves the devices out (nft 1.0.6). */
export function readIngressChains(text: string): IngressChain[] {
  const chains: IngressChain[] = [];
  let [table, object, hooked] = ['', '', false];
  for (const line of text.split('\n')) {
    const head = /^\s*(table \S+ \S+|(?:chain|flowtable) \S+) \{/.exec(line)?.[1];
    if (head?.startsWith('table ')) table = head;
    else if (head) [object, hooked] = [head, false];
    hooked ||= /\bhook ingress\b/.test(line);
    const devices = /\bdevices? (?:= \{([^}]*)\}|("[^"]+"|\S+))/.exec(line);
    if (!hooked || !devices) continue;
    for (const word of (devices[1] ?? devices[2]!).split(','))
      chains.push({ device: word.trim().replaceAll('"', ''), name: `${table} ${object}` });
  }
  return chains;
}

/** Reads the chains of type nat out of what `nft list chains` prints. */
export function readNatChains(text: string): string[] {
  let [table, chain] = ['', ''];
  return text.split('\n').flatMap((line) => {
    const head = /^\s*(table|chain) (.+) \{/.exec(line);
    if (head?.[1] === 'table') table = head[2]!;
    else if (head) chain = head[2]!;
    return /^\s*type nat hook\b/.test(line) ? [`table ${table} chain ${chain}`] : [];
  });
}

async function json<T>(argv: readonly [string, ...string[]], where: Where): Promise<T[]> {
  const text = await run(argv, where);
  return text.trim() === '' ? [] : (JSON.parse(text) as T[]);
}
