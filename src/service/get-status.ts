import { inspect, isOurUpload, type Scene } from '../apply/index.ts';
import {
  type Filter,
  getBpfCounters,
  getTcStats,
  listFilters,
  type TcStat,
  VERDICT_MAP,
  VERDICTS,
  verdictsOf,
} from '../kernel/index.ts';
import {
  DOWNLOAD_MAJOR,
  formatHandle,
  hooksOf,
  isOurFilter,
  LEAF_MAJOR,
  LINK_MINOR,
  UPLOAD_MAJOR,
} from '../shape/index.ts';
import { requestStatus } from './control.ts';
import type { DirectionStatus, LinkStatus, QueueStatus, ServiceStatus, Status } from './status.ts';

/** Reads what is in the kernel now, and asks the running service, if there is one, for what it knows beyond. */
export async function getStatus(): Promise<Status> {
  const [scene, service] = await Promise.all([inspect(), requestStatus()]);
  const names = service?.queues ?? [];
  const devices = new Map<string, string>();
  for (const { device, name } of service?.links ?? []) devices.set(device, name);
  for (const { ownership } of scene.ifbs) {
    devices.set(ownership.device, ownership.link);
    for (const { device } of ownership.shared) if (!devices.has(device)) devices.set(device, device);
  }
  for (const q of scene.qdiscs.filter(isOurUpload)) if (!devices.has(q.device)) devices.set(q.device, q.device);

  const links = await Promise.all([...devices].map(([device, name]) => getLink(scene, service, device, name, names)));
  return { running: service !== undefined, tracking: scene.table === 'ours', service, links };
}

async function getLink(
  scene: Scene,
  service: ServiceStatus | undefined,
  device: string,
  name: string,
  names: readonly string[],
): Promise<LinkStatus> {
  const own = scene.ifbs.find(({ ownership }) => hooksOf(ownership).some((hook) => hook.device === device));
  const ifb = own?.device;
  const shares = own && own.ownership.device !== device ? own.ownership.link : undefined;
  const index = scene.devices.find((d) => d.name === device)?.index;
  const hasUpload = scene.qdiscs.some((q) => q.device === device && isOurUpload(q));
  const uploadFilters = hasUpload ? await listFilters(device, formatHandle(UPLOAD_MAJOR)) : [];
  const redirected = scene.hooks.get(device)?.ingress.some(isOurFilter) ?? false;
  return {
    name,
    device,
    state: stateOf(
      service?.links.find((link) => link.device === device)?.state ?? 'kept',
      ifb !== undefined && !redirected,
    ),
    ifb: ifb?.name,
    shares,
    download: ifb && getDirection(ifb.index, DOWNLOAD_MAJOR, scene.hooks.get(device)?.ingress ?? [], names),
    upload: hasUpload && index !== undefined ? getDirection(index, UPLOAD_MAJOR, uploadFilters, names) : undefined,
  };
}

/** The kernel has the last word: without the redirect nothing is steered, whoever took it away. */
const stateOf = (state: LinkStatus['state'], lost: boolean): LinkStatus['state'] =>
  state === 'steering' && lost ? 'open' : state;

function getDirection(
  ifindex: number,
  major: number,
  filters: readonly Filter[],
  names: readonly string[],
): DirectionStatus {
  const stats = getTcStats(undefined, ifindex);
  const program = filters.find(isOurFilter)?.programId;
  const queues = stats
    .filter((s) => s.isClass && s.handle >>> 16 === major && (s.handle & 0xffff) < LINK_MINOR)
    .sort((a, b) => a.handle - b.handle)
    .map((s) => queueOf(s, stats, names));
  const counters = program === undefined ? [] : getBpfCounters(program, VERDICT_MAP, VERDICTS.length);
  return { packets: program === undefined ? {} : verdictsOf(counters), queues };
}

function queueOf(stat: TcStat, stats: readonly TcStat[], names: readonly string[]): QueueStatus {
  const number = stat.handle & 0xffff;
  // Drops are counted where they happen: by the leaf, which fq_codel does also when it sends.
  const leaf = stats.find((s) => !s.isClass && s.handle >>> 16 === LEAF_MAJOR + number);
  return {
    name: names[number - 1],
    classid: formatHandle(stat.handle >>> 16, number),
    leaf: leaf?.kind ?? 'none',
    rate: stat.rate * 8,
    ceil: stat.ceil * 8,
    bytes: stat.bytes,
    packets: stat.packets,
    drops: leaf?.drops ?? stat.drops,
    overlimits: stat.overlimits,
    backlogBytes: stat.backlog,
    backlogPackets: stat.qlen,
  };
}
