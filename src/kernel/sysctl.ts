import { readFile } from 'node:fs/promises';
import { join } from 'node:path';

/** Reads a sysctl of the caller's namespace, such as `net/netfilter/nf_conntrack_acct`; undefined where it does not exist. */
export async function getSysctl(name: string): Promise<string | undefined> {
  return readFile(join('/proc/sys', name), 'utf8').then(
    (text) => text.trim(),
    () => undefined,
  );
}
