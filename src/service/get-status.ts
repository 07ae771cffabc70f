import { inspect, isOurUpload, isRedirected, type Scene } from '../apply/index.ts';
import {
  type Filter,
  getBpfCounters,
  getTcStats,
  listFilters,
  listTins,
  type NetDevice,
  type TcStat,
  VERDICT_MAP,
  VERDICTS,
  verdictsOf,
} from '../kernel/index.ts';
import { formatMark } from '../model/index.ts';
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
  const devices = new Map<string, string>();
  for (const { device, name } of service?.links ?? []) devices.set(device, name);
  for (const { ownership } of scene.ifbs) {
    devices.set(ownership.device, ownership.link);
    for (const { device } of ownership.shared) if (!devices.has(device)) devices.set(device, device);
  }
  for (const q of scene.qdiscs.filter(isOurUpload)) if (!devices.has(q.device)) devices.set(q.device, q.device);

  const links = await Promise.all([...devices].map(([device, name]) => getLink(scene, service, device, name)));
  const marks = scene.field && formatMark(scene.field.mask);
  return { running: service !== undefined, tracking: scene.table === 'ours', marks, service, links };
}

async function getLink(
  scene: Scene,
  service: ServiceStatus | undefined,
  device: string,
  name: string,
): Promise<LinkStatus> {
  const direction = async (on: NetDevice, major: number, filters: readonly Filter[]): Promise<DirectionStatus> => ({
    packets: getVerdicts(filters),
    queues: hasCake(scene, on) ? await getTins(on, major, service) : getClasses(on, major, service),
  });
  const own = scene.ifbs.find(({ ownership }) => hooksOf(ownership).some((hook) => hook.device === device));
  const ifb = own?.device;
  const shares = own && own.ownership.device !== device ? own.ownership.link : undefined;
  const known = scene.devices.find((d) => d.name === device);
  const hasUpload = scene.qdiscs.some((q) => q.device === device && isOurUpload(q));
  const uploadFilters = hasUpload ? await listFilters(device, formatHandle(UPLOAD_MAJOR)) : [];
  return {
    name,
    device,
    state: stateOf(
      service?.links.find((link) => link.device === device)?.state ?? 'kept',
      ifb !== undefined && !isRedirected(scene, device),
    ),
    ifb: ifb?.name,
    strays: ifb?.rxDropped,
    shares,
    download: ifb && (await direction(ifb, DOWNLOAD_MAJOR, scene.hooks.get(device)?.ingress ?? [])),
    upload: hasUpload && known ? await direction(known, UPLOAD_MAJOR, uploadFilters) : undefined,
  };
}

/** The kernel has the last word: without the redirect nothing is steered, whoever took it away. */
const stateOf = (state: LinkStatus['state'], lost: boolean): LinkStatus['state'] =>
  state === 'steering' && lost ? 'open' : state;

function getVerdicts(filters: readonly Filter[]): Record<string, number> {
  const program = filters.find(isOurFilter)?.programId;
  return program === undefined ? {} : verdictsOf(getBpfCounters(program, VERDICT_MAP, VERDICTS.length));
}

const hasCake = (scene: Scene, { name }: NetDevice): boolean =>
  scene.qdiscs.some((q) => q.device === name && q.root && q.kind === 'cake');

async function getTins({ name }: NetDevice, major: number, service: ServiceStatus | undefined): Promise<QueueStatus[]> {
  const tins = (await listTins(name)).map(({ threshold, bytes, packets, drops, backlog }, i) => ({
    ...{ name: nameOf(i + 1, service), classid: formatHandle(major, i + 1), leaf: 'tin', rate: threshold },
    ...{ bytes, packets, drops, overlimits: 0, backlogBytes: backlog },
  }));
  // While somebody knows which queues there are, the other tins are of no interest.
  return inOrder(tins, service).filter((tin) => tin.name !== undefined || !service);
}

function getClasses({ index }: NetDevice, major: number, service: ServiceStatus | undefined): QueueStatus[] {
  const stats = getTcStats(undefined, index);
  const classes = stats
    .filter((s) => s.isClass && s.handle >>> 16 === major && (s.handle & 0xffff) < LINK_MINOR)
    .sort((a, b) => a.handle - b.handle)
    .map((s) => queueOf(s, stats, service));
  return inOrder(classes, service);
}

const nameOf = (number: number, service: ServiceStatus | undefined): string | undefined =>
  service?.queues.find((queue) => queue.number === number)?.name;

/** As the policy has them, where a service knows that; else by number. */
function inOrder(queues: readonly QueueStatus[], service: ServiceStatus | undefined): QueueStatus[] {
  const names = service?.queues.map(({ name }) => name) ?? [];
  const place = ({ name }: QueueStatus) => (name === undefined ? names.length : names.indexOf(name));
  return queues.toSorted((a, b) => place(a) - place(b));
}

function queueOf(stat: TcStat, stats: readonly TcStat[], service: ServiceStatus | undefined): QueueStatus {
  const number = stat.handle & 0xffff;
  // Drops are counted where they happen: by the leaf, which fq_codel does also when it sends.
  const leaf = stats.find((s) => !s.isClass && s.handle >>> 16 === LEAF_MAJOR + number);
  return {
    name: nameOf(number, service),
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
