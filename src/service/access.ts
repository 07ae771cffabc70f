import type { Peer } from '../kernel/index.ts';

/** Who may use the control socket beside root. */
export interface Access {
  /** User id of the service itself. */
  readonly user: number;
  /** The group whose members may ask; undefined: there is none. */
  readonly group: number | undefined;
}

/** Whether a process may ask (GET), or change something (any other method). */
export function isAllowed(method: string, { uid, gid, groups }: Peer, { user, group }: Access): boolean {
  if (uid === 0 || uid === user) return true;
  return method === 'GET' && group !== undefined && (gid === group || groups.includes(group));
}
