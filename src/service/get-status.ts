import { ifbsOf, inspect, isOurUpload, isRedirected, leadsNowhere, type Scene } from '../apply/index.ts';
import {
  type CountingRule,
  DEADLINE_MAP,
  type Filter,
  getBpfCounters,
  getBpfValue,
  getJournal,
  getSetExpiry,
  getTcStats,
  listCountingRules,
  listFilters,
  listTins,
  type NetDevice,
  type TcStat,
  VERDICT_MAP,
  VERDICTS,
  verdictsOf,
} from '../kernel/index.ts';
import type { Policy } from '../language/index.ts';
import { type Count, formatMark, sumCounts } from '../model/index.ts';
import {
  ARRIVAL_FAMILY,
  arrivalChain,
  DOWNLOAD_MAJOR,
  formatHandle,
  isOurFilter,
  LEAF_MAJOR,
  LINK_MINOR,
  NAMES_CHAIN,
  numberedQueues,
  policedWay,
  TABLE,
  TAKEN,
  UPLOAD_MAJOR,
} from '../shape/index.ts';
import { readApplied } from './applied.ts';
import type { DirectionStatus, LinkStatus, PolicerStatus, QueueStatus, ServiceStatus, Status } from './status.ts';

/** Reads what is in the kernel now; `service` is what the running one, if there is one, knows beyond. */
export async function getStatus(service: ServiceStatus | undefined): Promise<Status> {
  const scene = await inspect();
  const devices = new Map<string, string>();
  for (const { device, name } of service?.links ?? []) devices.set(device, name);
  for (const { ownership } of scene.ifbs) {
    devices.set(ownership.device, ownership.link);
    for (const { device } of ownership.shared) if (!devices.has(device)) devices.set(device, device);
  }
  for (const q of scene.qdiscs.filter(isOurUpload)) if (!devices.has(q.device)) devices.set(q.device, q.device);
  for (const { name } of scene.devices) if (leadsNowhere(scene, name) && !devices.has(name)) devices.set(name, name);

  const [queues, forwards, takenFor, rules] = await Promise.all([
    service?.queues ?? (scene.table === 'ours' ? readQueues() : undefined),
    scene.arrivals === 'ours' ? listCountingRules(ARRIVAL_FAMILY, TABLE) : [],
    scene.arrivals === 'ours' ? getSetExpiry(ARRIVAL_FAMILY, TABLE, TAKEN) : undefined,
    scene.table === 'ours' ? listCountingRules('inet', TABLE) : [],
  ]);
  const links = await Promise.all(
    [...devices].map((named) => getLink({ scene, service, queues, forwards, takenFor }, ...named)),
  );
  const marks = scene.field && formatMark(scene.field.mask);
  return {
    ...{ running: service !== undefined, tracking: scene.table === 'ours', marks, service, links },
    policers: policersOf(rules),
    unreadAnswers: rules.find(({ chain }) => chain === NAMES_CHAIN)?.counts[0]?.packets,
  };
}

/** What was read before the links are looked at. */
interface Seen {
  readonly scene: Scene;
  readonly service: ServiceStatus | undefined;
  readonly queues: Queues;
  /** Of the datapath `map`. */
  readonly forwards: readonly CountingRule[];
  /** Likewise: ms until what arrives passes untouched. */
  readonly takenFor: number | undefined;
}

/** In the order of the policy; undefined: nobody knows. */
type Queues = ServiceStatus['queues'] | undefined;

/** As the record of what is in force has them: of a change that was cut short nobody knows whether they are those. */
async function readQueues(): Promise<Queues> {
  const applied = (await getJournal()) === undefined ? await readApplied() : undefined;
  return applied && queuesOf(applied.policy);
}

/** A policy's queues, in its order, by the numbers of their classes. */
export const queuesOf = (policy: Policy): ServiceStatus['queues'] =>
  numberedQueues(policy).map(({ queue, number }) => ({ name: queue.name, number }));

const policersOf = (rules: readonly CountingRule[]): PolicerStatus[] =>
  rules.flatMap(({ chain, comment = chain, counts }) => {
    const [way, [came, dropped]] = [policedWay(chain), counts];
    if (!way || !came || !dropped) return [];
    const passed = { packets: came.packets - dropped.packets, bytes: came.bytes - dropped.bytes };
    return [{ rule: comment, way, passed, dropped }];
  });

async function getLink(seen: Seen, device: string, name: string): Promise<LinkStatus> {
  const { scene, service, queues: named } = seen;
  const direction = async (
    on: readonly NetDevice[],
    major: number,
    filters: readonly Filter[],
    takenFor?: number,
  ): Promise<DirectionStatus> => {
    const queues = await Promise.all(
      on.map(async (d) => (hasCake(scene, d) ? getTins(d, major, named) : getClasses(d, major, named))),
    );
    return {
      packets: getVerdicts(filters),
      expires: getExpiry(filters) ?? takenFor,
      queues: inOrder(queues.flat(), named),
    };
  };
  const owned = ifbsOf(scene, device);
  const [own] = owned;
  const arriving = scene.hooks.get(device)?.ingress ?? [];
  const shares = own && own.ownership.device !== device ? own.ownership.link : undefined;
  const known = scene.devices.find((d) => d.name === device);
  const hasUpload = scene.qdiscs.some((q) => q.device === device && isOurUpload(q));
  const uploadFilters = hasUpload ? await listFilters(device, formatHandle(UPLOAD_MAJOR)) : [];
  const told = service?.links.find((link) => link.device === device);
  return {
    name,
    device,
    state: stateOf(told?.state ?? 'kept', own !== undefined && !isRedirected(scene, device)),
    ifbs: owned.map(({ device: { name: ifb, rx, tx } }) => {
      return { name: ifb, redirected: sumCounts(redirectsOf(seen, device, ifb)), rx, tx };
    }),
    shares,
    downloadLost: leadsNowhere(scene, device),
    uploadLost: told?.upload === true && told.state !== 'absent' && !hasUpload,
    download:
      own &&
      (await direction(
        owned.map((ifb) => ifb.device),
        DOWNLOAD_MAJOR,
        arriving,
        seen.takenFor,
      )),
    upload: hasUpload && known ? await direction([known], UPLOAD_MAJOR, uploadFilters) : undefined,
  };
}

/** What each of the device's redirects to the ifb counts: mirred's, and with `map` nft's. */
const redirectsOf = ({ scene, forwards }: Seen, device: string, ifb: string): Count[] => [
  ...(scene.hooks.get(device)?.ingress ?? []).flatMap((filter) =>
    isOurFilter(filter) && filter.redirected?.to === ifb ? [filter.redirected] : [],
  ),
  ...forwards.flatMap(({ chain, forwardsTo, counts }) =>
    chain === arrivalChain(device) && forwardsTo === ifb ? counts : [],
  ),
];

/** The kernel has the last word: without the redirect nothing is steered, whoever took it away. */
const stateOf = (state: LinkStatus['state'], lost: boolean): LinkStatus['state'] =>
  lost && (state === 'steering' || state === 'kept') ? 'open' : state;

function getExpiry(filters: readonly Filter[]): number | undefined {
  const program = filters.find(isOurFilter)?.programId;
  // An earlier version's program has none.
  const deadline = program === undefined ? undefined : getBpfValue(program, DEADLINE_MAP);
  return deadline ? Number((deadline - process.hrtime.bigint()) / 1_000_000n) : undefined;
}

function getVerdicts(filters: readonly Filter[]): Record<string, number> {
  const program = filters.find(isOurFilter)?.programId;
  return program === undefined ? {} : verdictsOf(getBpfCounters(program, VERDICT_MAP, VERDICTS.length));
}

const hasCake = (scene: Scene, { name }: NetDevice): boolean =>
  scene.qdiscs.some((q) => q.device === name && q.root && q.kind === 'cake');

async function getTins({ name }: NetDevice, major: number, named: Queues): Promise<QueueStatus[]> {
  const tins = (await listTins(name)).map(({ threshold, bytes, packets, drops, backlog }, i) => ({
    ...{
      name: nameOf(i + 1, named),
      device: name,
      classid: formatHandle(major, i + 1),
      leaf: 'tin',
      rate: threshold,
    },
    ...{ bytes, packets, drops, overlimits: 0, backlogBytes: backlog },
  }));
  // While somebody knows which queues there are, the other tins are of no interest.
  return tins.filter((tin) => tin.name !== undefined || !named);
}

function getClasses({ name, index }: NetDevice, major: number, named: Queues): QueueStatus[] {
  const stats = getTcStats(undefined, index);
  return stats
    .filter((s) => s.isClass && s.handle >>> 16 === major && (s.handle & 0xffff) < LINK_MINOR)
    .sort((a, b) => a.handle - b.handle)
    .map((s) => queueOf(name, s, stats, named));
}

const nameOf = (number: number, named: Queues): string | undefined =>
  named?.find((queue) => queue.number === number)?.name;

/** As the policy has them, where that is known; else by number. */
function inOrder(queues: readonly QueueStatus[], named: Queues = []): QueueStatus[] {
  const names = named.map(({ name }) => name);
  const place = ({ name }: QueueStatus) => (name === undefined ? names.length : names.indexOf(name));
  return queues.toSorted((a, b) => place(a) - place(b));
}

function queueOf(device: string, stat: TcStat, stats: readonly TcStat[], named: Queues): QueueStatus {
  const number = stat.handle & 0xffff;
  // Drops are counted where they happen: by the leaf, which fq_codel does also when it sends.
  const leaf = stats.find((s) => !s.isClass && s.handle >>> 16 === LEAF_MAJOR + number);
  return {
    name: nameOf(number, named),
    device,
    classid: formatHandle(stat.handle >>> 16, number),
    leaf: leaf?.kind ?? 'none',
    rate: stat.rate === 0 ? undefined : stat.rate * 8,
    ceil: stat.ceil === 0 ? undefined : stat.ceil * 8,
    bytes: stat.bytes,
    packets: stat.packets,
    drops: leaf?.drops ?? stat.drops,
    overlimits: stat.overlimits,
    backlogBytes: stat.backlog,
    backlogPackets: stat.qlen,
  };
}
