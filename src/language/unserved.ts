import type { MachineFacts } from '../model/index.ts';
import type { Condition, Policy } from './policy.ts';
import type { Scope } from './scope.ts';
import type { CompareSyntax, OperandSyntax } from './syntax.ts';
import { leavesOfRule } from './tier.ts';

interface Want {
  readonly fact: keyof MachineFacts;
  /** What is so where the fact is not. */
  readonly lack: string;
  readonly remedy: string;
}

const counts: Want = {
  fact: 'accounting',
  lack: 'net.netfilter.nf_conntrack_acct is 0',
  remedy: 'sysctl -w net.netfilter.nf_conntrack_acct=1; flows that are there already stay uncounted',
};
const WANTS: Readonly<Record<string, Want>> = {
  bytes: counts,
  packets: counts,
  rate: counts,
  size: counts,
  ratio: counts,
  idle: counts,
  age: {
    fact: 'timestamps',
    lack: 'net.netfilter.nf_conntrack_timestamp is 0',
    remedy:
      'sysctl -w net.netfilter.nf_conntrack_timestamp=1; without, the age of flows older than headgate is not known',
  },
  cgroup: {
    fact: 'cgroups',
    lack: 'no cgroup2 is mounted',
    remedy: 'mount -t cgroup2 none /sys/fs/cgroup, or ask for user or process',
  },
  unit: {
    fact: 'systemd',
    lack: 'systemd does not run here',
    remedy: 'ask for user or process; a cgroup that is named like a unit counts as one all the same',
  },
};

/** Reports a word that the machine at hand, where one was looked at, cannot serve: for each thing that it lacks the first one. */
export function reportUnserved(
  { subject }: CompareSyntax,
  condition: Condition | undefined,
  { machine, missed, diagnostics }: Scope,
): void {
  if (!machine || !condition) return;
  const word =
    condition.kind === 'measure'
      ? condition.measure
      : condition.kind === 'count' && condition.by === 'unit'
        ? 'unit'
        : condition.kind;
  const want = Object.hasOwn(WANTS, word) ? WANTS[word] : undefined;
  if (!want || machine[want.fact] !== false || missed.has(want.fact)) return;
  missed.add(want.fact);
  diagnostics.add('unserved', subject, { subject: subject.text, lack: want.lack }, want.remedy);
}

/** Reports a user whom the machine at hand, where it was asked, does not have. */
export function reportStranger(item: OperandSyntax, name: string, { machine, diagnostics }: Scope): void {
  if (!machine?.strangers?.has(name)) return;
  const fields = { subject: `user ${name}`, lack: 'it has no user of that name' };
  diagnostics.add('unserved', item, fields, 'getent passwd lists those that it has');
}

/** The users that a policy's rules name, other than by number. */
export const usersNamedBy = ({ rules }: Policy): readonly string[] => [
  ...new Set(
    rules
      .flatMap((rule) => [...leavesOfRule(rule)])
      .flatMap((leaf) => (leaf.kind === 'user' ? leaf.users : []))
      .filter((user) => typeof user === 'string'),
  ),
];
