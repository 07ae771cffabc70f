/** What systemd ends the names of cgroups with that hold processes of a unit (systemd.unit(5)); slices hold units. */
const UNIT = /^_?(.+\.(?:service|scope|socket|mount|swap))$/;

/**
 * The systemd unit of a cgroup: the innermost one on its path, so that of a user's own service it is this, and not
 * `user@1000.service`; what a unit makes below itself is the unit's. systemd puts `_` before names that the kernel would
 * take for its own (cg_escape()).
 */
export function unitOf(cgroup: string): string | undefined {
  return cgroup
    .split('/')
    .map((part) => UNIT.exec(part)?.[1])
    .findLast((unit) => unit !== undefined);
}
