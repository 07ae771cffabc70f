import type { Capabilities, Capability, Finding } from '../model/index.ts';
import { chooseDatapath, ladderOf, type Rung } from '../shape/index.ts';
import type { Here } from './doctor-here.ts';

/** Everything that `headgate doctor` found out. */
export interface Diagnosis {
  readonly capabilities: Capabilities;
  /** For each capability that is missing, what would enable it. */
  readonly hints: ReadonlyMap<Capability, string>;
  /** Why it was not looked, in place of what was seen. */
  readonly here: Here | string;
  readonly device?: string | undefined;
}

const MARKS: Readonly<Record<Finding['answer'], string>> = { yes: '✓', no: '✗', unknown: '?' };
const WORDS: Readonly<Record<Finding['answer'], string>> = {
  yes: 'works',
  no: 'does not work',
  unknown: 'could not tell',
};
const COLORS: Readonly<Record<Finding['answer'], number>> = { yes: 32, no: 31, unknown: 33 };

const TREES = ['htb', 'prio', 'cake'] as const;
const LEAVES = ['fq_codel', 'sfq', 'cake', 'bfifo', 'tbf'] as const;

/** What a policy may ask for beyond its queues. */
const USES: readonly (readonly [what: string, ...needs: Capability[]])[] = [
  ['kernel rules', 'nft inet', 'nft ct'],
  ['live rules', 'conntrack events', 'conntrack marks'],
  ['police', 'nft limit'],
  ['mirror', 'nft dup', 'device ifb'],
  ['bytes, packets, rate', 'sysctl nf_conntrack_acct'],
  ['age', 'sysctl nf_conntrack_timestamp'],
  ['domain, mac, dscp', 'nft log'],
];

/** The diagnosis as one text for a terminal. */
export function formatDiagnosis(diagnosis: Diagnosis, color: boolean): string {
  const { capabilities } = diagnosis;
  const sign = (answer: Finding['answer']) =>
    color ? `\x1b[${COLORS[answer]}m${MARKS[answer]}\x1b[0m` : MARKS[answer];
  const takes = chooseDatapath(capabilities);
  const lines = [
    `kernel ${capabilities.release}, tried at ${new Date(capabilities.time).toLocaleString('sv-SE')} in a network namespace of its own`,
    '',
    'datapaths, best first',
    ...ladderOf(capabilities).flatMap((rung) => formatRung(rung, diagnosis, sign, takes)),
    '',
    takes === undefined ? 'headgate up would find no datapath' : `headgate up would take ${takes}`,
    '',
    ...formatQdiscs('trees', TREES, diagnosis, sign),
    ...formatQdiscs('leaves', LEAVES, diagnosis, sign),
    '',
    'rules',
    ...USES.flatMap(([what, ...needs]) => formatUse(what, needs, diagnosis, sign)),
    '',
    ...formatHere(diagnosis),
  ];
  return lines.join('\n');
}

type Sign = (answer: Finding['answer']) => string;

function formatRung(
  { datapath, answer, lacks }: Rung,
  diagnosis: Diagnosis,
  sign: Sign,
  takes: string | undefined,
): string[] {
  return [
    `  ${sign(answer)} ${datapath.padEnd(5)}${WORDS[answer]}${datapath === takes ? ', and is taken' : ''}`,
    ...lacks.flatMap((group) =>
      group.flatMap((capability, i) => formatLack(capability, diagnosis, `        ${i > 0 ? 'or ' : ''}`)),
    ),
  ];
}

function formatLack(capability: Capability, { capabilities, hints }: Diagnosis, indent: string): string[] {
  const finding = capabilities.findings[capability];
  if (finding.answer === 'yes') return [];
  const hint = hints.get(capability);
  return [`${indent}${capability}: ${finding.why}`, ...(hint === undefined ? [] : [`${indent}  ${hint}`])];
}

function formatQdiscs(
  title: string,
  kinds: readonly (typeof TREES | typeof LEAVES)[number][],
  { capabilities }: Diagnosis,
  sign: Sign,
): string[] {
  const parts = (['yes', 'no', 'unknown'] as const).flatMap((answer) => {
    const these = kinds.filter((kind) => capabilities.findings[`qdisc ${kind}`].answer === answer);
    return these.length === 0 ? [] : [`  ${sign(answer)} ${WORDS[answer].padEnd(14)} ${these.join(', ')}`];
  });
  return [title, ...parts];
}

function formatUse(what: string, needs: readonly Capability[], diagnosis: Diagnosis, sign: Sign): string[] {
  const answers = needs.map((need) => diagnosis.capabilities.findings[need].answer);
  const answer = (['no', 'unknown', 'yes'] as const).find((a) => answers.includes(a))!;
  return [
    `  ${sign(answer)} ${WORDS[answer].padEnd(14)} ${what}`,
    ...needs.flatMap((need) => formatLack(need, diagnosis, '        ')),
  ];
}

const SYSCTL_NOTES = {
  nf_conntrack_acct: ['counts bytes and packets of flows', 'bytes, packets and rate are not counted'],
  nf_conntrack_timestamp: ['notes when flows begin', 'the age of a flow counts from when Headgate saw it'],
  nf_conntrack_events: ['tells of flows', 'no event comes, and live rules decide nothing'],
} as const;

function formatHere({ here, device }: Diagnosis): string[] {
  if (typeof here === 'string') return [`this network namespace: could not tell (${here})`];
  const { sysctls, zones, ingressChains, ingressQdiscs, refusals } = here;
  const off = (Object.keys(SYSCTL_NOTES) as (keyof typeof SYSCTL_NOTES)[]).filter((name) => sysctls[name] === '0');
  const notes = [
    ...off.map((name) => `${SYSCTL_NOTES[name][1]}: sysctl -w net.netfilter.${name}=1 (for flows that begin then)`),
    ...(zones ? ['some rule uses conntrack zones: the classifier looks in the default zone alone'] : []),
    ...ingressChains.map(
      (chain) => `${chain} sees what arrives before Headgate would redirect it: up refuses that device`,
    ),
    ...ingressQdiscs.map((qdisc) => `${qdisc} is there: up uses it, and leaves it`),
    ...refusals.flatMap(({ message, hint }) => [`up would refuse: ${message}`, `  ${hint}`]),
  ];
  const clear = device !== undefined && refusals.length === 0 ? [`nothing is in the way on ${device}`] : [];
  return [
    'this network namespace',
    ...[...notes, ...clear].map((line) => `  ${line}`),
    ...(notes.length + clear.length === 0 ? ['  nothing to note'] : []),
  ];
}
