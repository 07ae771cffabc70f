import { execute } from './command.ts';

/** Members of it may read what the service tells, besides root: docs/systemd. */
export const CONTROL_GROUP = 'headgate';

/** Number of the group of that name, from wherever this system has its groups (nsswitch.conf(5)); undefined: there is none. */
export async function getGroupId(name: string): Promise<number | undefined> {
  const { status, stdout } = await execute(['getent', 'group', name]);
  const id = status === 0 ? /^[^:]*:[^:]*:(\d+):/.exec(stdout)?.[1] : undefined;
  return id === undefined ? undefined : Number(id);
}
