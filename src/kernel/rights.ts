import { readFileSync } from 'node:fs';
import { execute } from './command.ts';
import { execWith } from './shim/index.ts';

/** Capabilities of a process by their bits in /proc/PID/status (capabilities(7), linux/capability.h), without CAP_. */
export const RIGHTS = {
  DAC_READ_SEARCH: 1n << 2n,
  SETPCAP: 1n << 8n,
  NET_ADMIN: 1n << 12n,
  NET_RAW: 1n << 13n,
  SYS_PTRACE: 1n << 19n,
  SYS_ADMIN: 1n << 21n,
} as const;

export type Right = keyof typeof RIGHTS;

/** The process has the capability in force. */
export const hasRight = (right: Right): boolean =>
  (BigInt(`0x${/^CapEff:\s*([0-9a-f]+)/m.exec(readFileSync('/proc/self/status', 'utf8'))?.[1] ?? '0'}`) &
    RIGHTS[right]) !==
  0n;

/**
 * Starts this program anew, in this process, with these capabilities and no way to others. Does not return.
 *
 * @throws HeadgateError HG_NO_SHIM, HG_NOT_ROOT, HG_KERNEL
 */
export function restartWith(rights: readonly Right[]): never {
  const keep = rights.reduce((mask, right) => mask | RIGHTS[right], 0n);
  // There is no TLS here, and node would read all of these certificates once more: 45 ms, where Debian's are named.
  delete process.env.NODE_EXTRA_CA_CERTS;
  return execWith(keep, process.execPath, [process.execPath, ...process.execArgv, ...process.argv.slice(1)]);
}

/** Joins a group, so that files can be given to it without CAP_CHOWN. @throws Error without CAP_SETGID, where it is in none of that id */
export function joinGroup(id: number): void {
  const groups = process.getgroups!();
  if (process.getegid!() !== id && !groups.includes(id)) process.setgroups!([...groups, id]);
}

/** Whether root can read all of these files without the right to read everything. Needs CAP_SETPCAP. */
export async function canReadAsOwner(files: readonly string[]): Promise<boolean> {
  const script = 'for f; do test -r "$f" || exit 1; done';
  const argv = ['--bounding-set=-dac_override,-dac_read_search', '--inh-caps=-all', 'sh', '-c', script, 'sh'] as const;
  return (await execute(['setpriv', ...argv, ...files])).status === 0;
}

/** We may make a network namespace, and send packets in it: what finding out what the kernel can do takes. */
export const canProbe = (): boolean => hasRight('SYS_ADMIN') && hasRight('NET_RAW');
