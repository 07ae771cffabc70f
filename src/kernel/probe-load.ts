import type { Finding } from '../model/index.ts';
import { type FailedLine, readFailedLines, TIMED_OUT } from './command.ts';
import { type Findings, refusal, tryOut, YES } from './probe-finding.ts';
import { MAC_HERE, MAC_THERE } from './probe-frames.ts';
import { watchTable } from './probe-nft.ts';
import type { Attempt } from './probe-trial.ts';
import type { Scratch } from './scratch.ts';

/** @throws HeadgateError where there is no veth, and so nothing that could be sent */
export async function addDevices(scratch: Scratch, attempts: readonly Attempt[]): Promise<void> {
  // Neighbour discovery would be counted as well; without IPv6 there is none. A kernel that has none refuses this.
  await scratch.execute(['sysctl', '-qw', 'net.ipv6.conf.default.disable_ipv6=1']);
  const lines = attempts.flatMap(({ place: { device, peer, ends } }) => [
    `link add ${device} address ${MAC_HERE} type veth peer name ${peer} address ${MAC_THERE}`,
    `link set ${device} up`,
    `link set ${peer} up`,
    `address add ${ends.here}/24 dev ${device}`,
  ]);
  await scratch.run(['ip', '-batch', '-'], `${lines.join('\n')}\n`);
}

/** All in one go where the kernel takes them all, else each by itself. */
export async function loadRulesets(scratch: Scratch, attempts: readonly Attempt[], findings: Findings): Promise<void> {
  const rulesets = attempts.flatMap(({ trial, place }) =>
    trial.nft ? [{ capability: trial.capability, text: trial.nft(place) }] : [],
  );
  const load = (text: string) => tryOut(() => scratch.run(['nft', '-f', '-'], text));
  const watch = watchTable(attempts);
  const whole = await load([watch, ...rulesets.map(({ text }) => text)].join(''));
  if (whole.answer !== 'yes') await load(watch);
  for (const { capability, text } of rulesets) findings[capability] = whole.answer === 'yes' ? YES : await load(text);
}

const SYSCTLS = ['nf_conntrack_events', 'nf_conntrack_acct', 'nf_conntrack_timestamp'] as const;

export type SysctlFindings = Readonly<Record<(typeof SYSCTLS)[number], Finding>>;

/** The trials' flows must not end before they were looked at, s. */
const LIFETIME = 'net.netfilter.nf_conntrack_udp_timeout=600';

/** Sets them to 1, which makes a difference only to flows that begin afterwards. */
export async function setSysctls(scratch: Scratch): Promise<SysctlFindings> {
  const names = SYSCTLS.map((name) => `net.netfilter.${name}`);
  const set = await scratch.execute(['sysctl', '-qw', LIFETIME, ...names.map((name) => `${name}=1`)]);
  const { status, stdout } = await scratch.execute(['sysctl', '-e', ...names]);
  const late = set.status === TIMED_OUT || status === TIMED_OUT;
  return Object.fromEntries(
    SYSCTLS.map((name, i): [string, Finding] => {
      if (late) return [name, { answer: 'unknown', why: 'sysctl took too long, and was given up' }];
      const value = stdout.split('\n').find((line) => line.startsWith(`${names[i]} =`));
      const about = set.stderr.split('\n').find((line) => line.includes(name));
      return [name, value?.endsWith('= 1') ? YES : refusal(about ?? 'it does not stay set')];
    }),
  ) as SysctlFindings;
}

/** A tc process for each of these, at the same time. */
const BATCHES = ['qdisc', 'classifier', 'action'] as const;

/** Loads what the trials have for tc. One that hangs holds up those of its batch that come behind it. */
export async function loadBatches(scratch: Scratch, attempts: readonly Attempt[], findings: Findings): Promise<void> {
  await Promise.all(
    BATCHES.map(async (first) => {
      const batch = attempts.filter(({ trial }) => trial.tc && trial.capability.startsWith(`${first} `));
      const lines = batch.flatMap(({ trial, place }) => trial.tc!(place).map((text) => ({ text, trial })));
      const input = `${lines.map(({ text }) => text).join('\n')}\n`;
      const { status, stderr } = await scratch.execute(['tc', '-force', '-batch', '-'], input);
      const failed = readFailedLines(stderr);
      for (const { trial } of batch)
        if (findings[trial.capability]?.answer !== 'no')
          findings[trial.capability] = batchFinding(status, stderr, failed);
      // The first that failed says why.
      for (const { line, said } of failed.reverse()) findings[lines[line - 1]!.trial.capability] = refusal(said);
    }),
  );
}

/** Of a trial in a batch, as long as nothing is said of its own lines. */
function batchFinding(status: number, stderr: string, failed: readonly FailedLine[]): Finding {
  // Nobody knows which line the hanging one was: packets will show whose lines it was through with.
  if (status === TIMED_OUT) return { answer: 'unknown', why: 'tc hung on it, or before it' };
  if (status === 0 || failed.length > 0) return YES;
  return { answer: 'unknown', why: `tc ended with status ${status}: ${stderr.trim()}` };
}
