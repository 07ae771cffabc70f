import {
  CONTROL_GROUP,
  canReadAsOwner,
  delLeftovers,
  ensureRoot,
  getCapabilities,
  getGroupId,
  hasRight,
  joinGroup,
  type Right,
  restartWith,
} from '../kernel/index.ts';
import { chooseDatapath, type DatapathName } from '../shape/index.ts';

/**
 * What the service and its tc, ip and nft need (tried out: docs/decisions/0025). Of the bpf datapath: ids of BTF and of
 * programs are for CAP_SYS_ADMIN (kernel/bpf/syscall.c), which contains CAP_BPF and CAP_PERFMON. With that, NET_RAW lets
 * the kernel be asked again.
 */
export const NEEDED_RIGHTS: Readonly<Record<DatapathName, readonly Right[]>> = {
  bpf: ['NET_ADMIN', 'SYS_ADMIN', 'NET_RAW'],
  ct: ['NET_ADMIN'],
  mark: ['NET_ADMIN'],
  map: ['NET_ADMIN'],
};

/**
 * Does what takes all of root's rights, then starts the program anew without those that a service of this datapath
 * (absent: the best one here) does not need. Returns where there is nothing to drop: after that, or where whoever
 * started us has limited us already. Of files that root may read only because it may read everything, `files` among
 * them, the right to read everything is kept.
 *
 * @throws HeadgateError HG_NOT_ROOT, HG_NO_TOOL, HG_NO_SHIM
 */
export async function shedPrivileges(datapath: DatapathName | undefined, files: readonly string[]): Promise<void> {
  ensureRoot('making qdiscs and devices');
  if (!hasRight('SETPCAP')) return;
  await delLeftovers();
  const [capabilities, group, readable] = await Promise.all([
    // Asked in any case: without root's rights it cannot be found out.
    getCapabilities(),
    getGroupId(CONTROL_GROUP),
    canReadAsOwner([...files, process.execPath, process.argv[1]!]),
  ]);
  const name = datapath ?? chooseDatapath(capabilities) ?? 'bpf';
  if (group !== undefined) joinGroup(group);
  const needed = NEEDED_RIGHTS[name];
  if (!needed.includes('SYS_ADMIN')) {
    // Most starts need no more of the service than this file, until they are started anew.
    const { compareBeforehand } = await import('./resume.ts');
    await compareBeforehand(name, capabilities);
  }
  restartWith(readable ? needed : [...needed, 'DAC_READ_SEARCH']);
}
