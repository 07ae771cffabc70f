import type { SchedulerLike } from 'rxjs';
import {
  CgroupPaths,
  getProcessName,
  getUserName,
  hasSocket,
  type LocalSocket,
  listProcesses,
  MOST_PROCESSES,
  SocketFinder,
} from '../kernel/index.ts';
import type { Address } from '../model/index.ts';
import { oldestOf, type SuppliedFact, type SuppliedFacts } from '../pipeline/index.ts';
import { type Finder, Sockets } from './sockets.ts';
import { type KnownSource, whileOpen } from './source.ts';
import { unitOf } from './unit-of.ts';

export interface WhoOptions {
  /** The address is one of this box. */
  readonly isOwn: (address: Address) => boolean;
  /** Default: those of our network namespace. */
  readonly open?: (() => Finder) | undefined;
  readonly cgroups?: CgroupPaths | undefined;
  readonly scheduler?: SchedulerLike | undefined;
}

/** Finds out whose the local socket of a flow is: its user, cgroup and systemd unit. */
export function whoSource({ cgroups = new CgroupPaths(), ...options }: WhoOptions): KnownSource {
  return socketSource('user, unit, cgroup', ['user', 'unit', 'cgroup'], options, async ({ uid, cgroup: id }) => {
    const [name, cgroup] = await Promise.all([getUserName(uid), id === undefined ? undefined : cgroups.pathOf(id)]);
    return { user: { id: uid, name }, cgroup, unit: cgroup === undefined ? undefined : unitOf(cgroup) };
  });
}

/** Sockets whose process is remembered. */
const MOST_REMEMBERED = 10_000;

/**
 * Finds out which process has the local socket of a flow. The kernel does not say; where all processes of the socket's
 * cgroup have one name it is that, and else their descriptors are looked through, as far as we may.
 */
export function processSource({ cgroups = new CgroupPaths(), ...options }: WhoOptions): KnownSource {
  const known = new Map<number, Promise<string | undefined>>();
  return socketSource('process', ['process'], options, async ({ inode, cgroup }) => {
    let name = known.get(inode);
    if (!name) {
      for (const oldest of oldestOf(known, MOST_REMEMBERED)) known.delete(oldest);
      // A file of /proc that cannot be read is no reason to end.
      name = findProcess(inode, cgroup, cgroups).catch(() => undefined);
      known.set(inode, name);
      // One that is not known now may be later: it may not have accepted its connection yet.
      void name.then((found) => found === undefined && known.delete(inode));
    }
    return { process: await name };
  });
}

async function findProcess(
  inode: number,
  cgroup: bigint | undefined,
  cgroups: CgroupPaths,
): Promise<string | undefined> {
  const path = cgroup === undefined ? undefined : await cgroups.pathOf(cgroup);
  const all = path === undefined ? await listProcesses() : await cgroups.processesOf(path);
  const some = all.slice(0, MOST_PROCESSES);
  const names = new Map<number, string>();
  for (const pid of some) {
    const name = await getProcessName(pid);
    if (name !== undefined) names.set(pid, name);
  }
  const [first, ...others] = new Set(names.values());
  if (path !== undefined && others.length === 0 && some.length === all.length) return first;
  for (const [pid, name] of names) if (await hasSocket(pid, inode)) return name;
  return undefined;
}

function socketSource(
  word: string,
  supplies: readonly SuppliedFact[],
  { isOwn, open = () => SocketFinder.open(), scheduler }: WhoOptions,
  describe: (socket: LocalSocket) => Promise<SuppliedFacts>,
): KnownSource {
  return whileOpen(
    { word, supplies, blind: 'sockets of other network namespaces (containers) are not seen' },
    (subscriber) => new Sockets({ open, isOwn, describe, scheduler }, subscriber),
  );
}
