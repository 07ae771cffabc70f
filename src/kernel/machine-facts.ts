import { readFile, stat } from 'node:fs/promises';
import type { MachineFacts } from '../model/index.ts';
import { execute } from './command.ts';
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

/** Those of the names that no user has, wherever this system has its users (nsswitch.conf(5)); none where that cannot be asked. */
export async function listStrangers(names: readonly string[]): Promise<ReadonlySet<string>> {
  const known = await Promise.all(
    names.map((name) =>
      execute(['getent', 'passwd', name]).then(
        // 2: not found (getent(1)).
        ({ status }) => status !== 2,
        () => true,
      ),
    ),
  );
  return new Set(names.filter((_, i) => !known[i]));
}

/** Absent while conntrack is not loaded. */
const getSwitch = async (name: string): Promise<boolean | undefined> => {
  const value = await getSysctl(name);
  return value === undefined ? undefined : value !== '0';
};
