import { readFile, stat } from 'node:fs/promises';
import type { MachineFacts } from '../model/index.ts';
import { getSysctl } from './sysctl.ts';

/** What this machine, in the caller's network namespace, serves to rules. Needs no privilege, and loads nothing. */
export async function getMachineFacts(): Promise<MachineFacts> {
  const [accounting, timestamps, mounts, systemd] = await Promise.all([
    getSwitch('net/netfilter/nf_conntrack_acct'),
    getSwitch('net/netfilter/nf_conntrack_timestamp'),
    readFile('/proc/self/mounts', 'utf8').catch(() => undefined),
    stat('/run/systemd/system').then(
      () => true,
      () => false,
    ),
  ]);
  return {
    accounting,
    timestamps,
    cgroups: mounts === undefined ? undefined : /^\S+ \S+ cgroup2 /m.test(mounts),
    systemd,
  };
}

/** Absent while conntrack is not loaded. */
const getSwitch = async (name: string): Promise<boolean | undefined> => {
  const value = await getSysctl(name);
  return value === undefined ? undefined : value !== '0';
};
