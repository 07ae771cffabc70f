import { readdir, readFile, readlink } from 'node:fs/promises';

/** Processes that are looked at for one socket; of more in its cgroup, those with the least numbers. */
export const MOST_PROCESSES = 1000;
/** Descriptors of one process that are looked at. */
export const MOST_DESCRIPTORS = 10_000;

/** Name of a process (comm, proc(5)): at most 15 bytes; undefined: it is gone. Anybody may ask. */
export async function getProcessName(pid: number): Promise<string | undefined> {
  const text = await readFile(`/proc/${pid}/comm`, 'utf8').catch(() => undefined);
  return text?.replace(/\n$/, '');
}

/** The process has a socket of that inode open. False also where we may not look: CAP_SYS_PTRACE, for others than our own. */
export async function hasSocket(pid: number, inode: number): Promise<boolean> {
  const folder = `/proc/${pid}/fd`;
  const wanted = `socket:[${inode}]`;
  const descriptors = await readdir(folder).catch(() => []);
  for (const descriptor of descriptors.slice(0, MOST_DESCRIPTORS))
    if ((await readlink(`${folder}/${descriptor}`).catch(() => '')) === wanted) return true;
  return false;
}

/** All processes that /proc shows. */
export const listProcesses = async (): Promise<readonly number[]> =>
  (await readdir('/proc')).flatMap((name) => (/^[1-9]\d*$/.test(name) ? [Number(name)] : []));
