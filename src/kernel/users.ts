import { execute } from './command.ts';

/** Names that are kept; one user more, and all are asked for again. */
const MOST_USERS = 1000;

const names = new Map<number, Promise<string | undefined>>();

/** Name of a user, from wherever this system has its users (nsswitch.conf(5)); undefined: none has that number. Asked once. */
export function getUserName(id: number): Promise<string | undefined> {
  let name = names.get(id);
  if (!name) {
    if (names.size >= MOST_USERS) names.clear();
    name = execute(['getent', 'passwd', String(id)]).then(
      ({ status, stdout }) => (status === 0 ? /^[^:]+/.exec(stdout)?.[0] : undefined),
      () => undefined,
    );
    names.set(id, name);
  }
  return name;
}
