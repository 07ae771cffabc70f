import type { Capabilities, Capability, Concern, Finding } from '../model/index.ts';
import { chooseDatapath, ladderOf, type Rung } from '../shape/index.ts';
import type { Here } from './doctor-here.ts';
import { formatMarks } from './doctor-marks.ts';

/** Everything that `headgate doctor` found out. */
export interface Diagnosis {
  readonly capabilities: Capabilities;
  /** For each capability that is missing, what would enable it. */
  readonly hints: ReadonlyMap<Capability, string>;
  /** What else keeps modules away. */
  readonly note?: string | undefined;
  /** Why it was not looked, in place of what was seen. */
  readonly here: Here | string;
  /** The one that was asked about. */
  readonly device?: string | undefined;
}

type Answer = Finding['answer'];
const SIGNS: Readonly<Record<Answer, string>> = { yes: '✓', no: '✗', unknown: '?' };
const WORDS: Readonly<Record<Answer, string>> = { yes: 'works', no: 'does not work', unknown: 'could not tell' };
const COLORS: Readonly<Record<Answer, number>> = { yes: 32, no: 31, unknown: 33 };
/** From bad to good. */
const ANSWERS = ['no', 'unknown', 'yes'] as const;

const TREES = ['htb', 'prio', 'cake'] as const;
const LEAVES = ['fq_codel', 'sfq', 'cake', 'bfifo', 'tbf'] as const;

/** What a policy may ask for beyond its queues. */
const USES: readonly (readonly [what: string, ...needs: Capability[]])[] = [
  ['kernel rules', 'nft inet', 'nft ct'],
  ['live rules', 'conntrack events', 'conntrack marks', 'sysctl nf_conntrack_events'],
  ['police', 'nft limit'],
  ['mirror', 'nft dup', 'device ifb'],
  ['bytes, packets, rate', 'sysctl nf_conntrack_acct'],
  ['age', 'sysctl nf_conntrack_timestamp'],
  ['domain, mac, dscp', 'nft log'],
];

/** The diagnosis as one text for a terminal. */
export function formatDiagnosis(diagnosis: Diagnosis, color: boolean): string {
  const { capabilities, hints, note } = diagnosis;
  const report = new Report(diagnosis, color);
  const time = new Date(capabilities.time).toLocaleString('sv-SE');
  const takes = chooseDatapath(capabilities);
  return [
    `kernel ${capabilities.release}, tried at ${time} in a network namespace of its own`,
    '',
    ...(report.nothing() ?? [
      'datapaths, best first',
      ...ladderOf(capabilities).flatMap((rung) => report.rung(rung)),
      '',
      ...(note !== undefined && hints.size > 0 ? [note, ''] : []),
      'trees',
      ...report.qdiscs(TREES),
      'leaves',
      ...report.qdiscs(LEAVES),
      '',
      'rules',
      ...USES.flatMap(([what, ...needs]) => report.use(what, needs)),
    ]),
    '',
    takes === undefined ? 'headgate up finds no datapath here' : `headgate up takes ${takes}`,
    '',
    ...formatHere(diagnosis),
  ].join('\n');
}

/** Lines about findings. Each capability that is missing is explained once. */
class Report {
  readonly #diagnosis: Diagnosis;
  readonly #color: boolean;
  readonly #explained = new Set<Capability>();

  constructor(diagnosis: Diagnosis, color: boolean) {
    this.#diagnosis = diagnosis;
    this.#color = color;
  }

  /** Where not one thing could be tried, the one reason for it. */
  nothing(): string[] | undefined {
    const findings = Object.values(this.#diagnosis.capabilities.findings);
    const whys = new Set(findings.map((finding) => (finding.answer === 'unknown' ? finding.why : undefined)));
    const [why] = whys;
    if (whys.size !== 1 || why === undefined) return undefined;
    const hint = /not permitted|permission denied/i.test(why) ? ['  run it as root, with sudo'] : [];
    return [`${this.#sign('unknown')} ${WORDS.unknown}: ${why}`, ...hint];
  }

  rung({ datapath, answer, lacks }: Rung): string[] {
    return [
      `  ${this.#sign(answer)} ${datapath.padEnd(5)}${WORDS[answer]}`,
      ...lacks.flatMap((group) => group.flatMap((one, i) => this.#explain(one, i === 0 ? '' : 'or '))),
    ];
  }

  qdiscs(kinds: readonly ((typeof TREES)[number] | (typeof LEAVES)[number])[]): string[] {
    const { findings } = this.#diagnosis.capabilities;
    return ANSWERS.toReversed().flatMap((answer) => {
      const these = kinds.filter((kind) => findings[`qdisc ${kind}`].answer === answer);
      if (these.length === 0) return [];
      return [this.#line(answer, these.join(', ')), ...these.flatMap((kind) => this.#explain(`qdisc ${kind}`, ''))];
    });
  }

  use(what: string, needs: readonly Capability[]): string[] {
    const { findings } = this.#diagnosis.capabilities;
    const answers = needs.map((need) => findings[need].answer);
    return [
      this.#line(ANSWERS.find((answer) => answers.includes(answer))!, what),
      ...needs.flatMap((need) => this.#explain(need, '')),
    ];
  }

  #explain(capability: Capability, or: string): string[] {
    const finding = this.#diagnosis.capabilities.findings[capability];
    if (finding.answer === 'yes') return [];
    const indent = ' '.repeat(9);
    if (this.#explained.has(capability)) return [`${indent}${or}${capability}: see above`];
    this.#explained.add(capability);
    const hint = this.#diagnosis.hints.get(capability);
    return [`${indent}${or}${capability}: ${finding.why}`, ...(hint === undefined ? [] : [`${indent}  ${hint}`])];
  }

  #line(answer: Answer, what: string): string {
    return `  ${this.#sign(answer)} ${WORDS[answer].padEnd(14)}  ${what}`;
  }

  #sign(answer: Answer): string {
    return this.#color ? `\x1b[${COLORS[answer]}m${SIGNS[answer]}\x1b[0m` : SIGNS[answer];
  }
}

/** What is lost while a sysctl is 0. */
const WITHOUT = {
  nf_conntrack_acct: 'bytes, packets and rate are not counted',
  nf_conntrack_timestamp: 'the age of a flow counts from when Headgate first saw it',
  nf_conntrack_events: 'the kernel tells of no flow, so live rules decide nothing',
} as const;

function formatHere({ here, device }: Diagnosis): string[] {
  if (typeof here === 'string') return [`this network namespace: could not tell (${here})`];
  const { sysctls, zones, ingressQdiscs, refusals, marks, concerns } = here;
  const off = (Object.keys(WITHOUT) as (keyof typeof WITHOUT)[]).filter((name) => sysctls[name] === '0');
  const notes = [
    ...off.map((name) => `${WITHOUT[name]}: sysctl -w net.netfilter.${name}=1 (holds for new flows)`),
    ...(zones ? ['some rule sets conntrack zones: the classifier looks in the default zone alone'] : []),
    ...ingressQdiscs.map((qdisc) => `${qdisc} is there: up uses it, and leaves it`),
    ...refusals.flatMap(({ message, hint }) => [`up refuses: ${message}`, `  ${hint}`]),
    ...(device !== undefined && refusals.length === 0 ? [`nothing is in the way on ${device}`] : []),
  ];
  return [
    'this network namespace',
    ...[...notes, ...formatMarks(marks)].map((line) => `  ${line}`),
    '',
    'conflicts and blind spots',
    ...(concerns.length > 0 ? concerns.flatMap(formatConcern) : ['  none found']),
  ];
}

const CONCERN_SIGNS: Readonly<Record<Concern['severity'], string>> = { problem: '✗', warning: '!', note: '·' };

const formatConcern = ({ check, severity, what, advice }: Concern): string[] => [
  `  ${CONCERN_SIGNS[severity]} ${severity} ${check}: ${what}`,
  ...(advice === '' ? [] : [`      ${advice}`]),
];
