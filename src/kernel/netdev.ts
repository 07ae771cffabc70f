import { run, type Where } from './command.ts';

/** A network device as `ip -details link` tells it; only what Headgate looks at. */
export interface NetDevice {
  readonly index: number;
  readonly name: string;
  readonly up: boolean;
  /** `ifb`, `veth`, `vlan`, ...; absent for hardware. */
  readonly kind?: string | undefined;
  readonly alias?: string | undefined;
}

/** A qdisc as `tc qdisc show` tells it. */
export interface Qdisc {
  readonly device: string;
  readonly kind: string;
  /** `7fe0:`; `0:` for what the kernel attached by itself. */
  readonly handle: string;
  readonly root: boolean;
}

/** A tc filter with what is needed to recognise it. */
export interface Filter {
  readonly kind: string;
  readonly pref: number;
  /** BPF: the object's file and section. */
  readonly bpfName?: string | undefined;
  /** BPF: for getBpfCounters. */
  readonly programId?: number | undefined;
}

interface IpLink {
  ifindex: number;
  ifname: string;
  flags: string[];
  ifalias?: string;
  linkinfo?: { info_kind?: string };
}

export async function listDevices(where: Where = {}): Promise<NetDevice[]> {
  const links = await json<IpLink>(['ip', '-json', '-details', 'link', 'show'], where);
  return links.map((l) => ({
    index: l.ifindex,
    name: l.ifname,
    up: l.flags.includes('UP'),
    kind: l.linkinfo?.info_kind,
    alias: l.ifalias,
  }));
}

export async function listQdiscs(where: Where = {}): Promise<Qdisc[]> {
  const qdiscs = await json<{ dev: string; kind: string; handle: string; root?: boolean }>(
    ['tc', '-json', 'qdisc', 'show'],
    where,
  );
  return qdiscs.map((q) => ({ device: q.dev, kind: q.kind, handle: q.handle, root: q.root === true }));
}

/** Filters at `ingress` or `egress` of a device's clsact, or of a parent qdisc such as `7fe1:`. One entry a filter. */
export async function listFilters(device: string, parent: string, where: Where = {}): Promise<Filter[]> {
  const at = parent.endsWith('gress') ? [parent] : ['parent', parent];
  const filters = await json<{ kind: string; pref: number; options?: { bpf_name?: string; prog?: { id?: number } } }>(
    ['tc', '-json', 'filter', 'show', 'dev', device, ...at],
    where,
  );
  // tc prints a head for each pref, without options, before the filters below it.
  return filters
    .filter((f) => f.options !== undefined)
    .map((f) => ({ kind: f.kind, pref: f.pref, bpfName: f.options?.bpf_name, programId: f.options?.prog?.id }));
}

async function json<T>(argv: readonly [string, ...string[]], where: Where): Promise<T[]> {
  const text = await run(argv, where);
  return text.trim() === '' ? [] : (JSON.parse(text) as T[]);
}
