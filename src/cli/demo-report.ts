import {
  type ExperimentResult,
  experimentSeconds,
  GOAL,
  PHASES,
  type PhaseResult,
  type Progress,
  REMOTE_FLOWS,
  type Step,
} from '../lab/index.ts';

const TITLES: Record<PhaseResult['name'], string> = {
  nothing: 'nothing done',
  'one-queue': 'one shaped queue',
  headgate: 'Headgate',
};
const STEPS: Record<Step, string> = {
  load: 'strangers connect',
  ping: 'ping',
  download: 'your download',
  upload: 'your upload',
};
const BAR = 10;
const EIGHTHS = ['', '▏', '▎', '▍', '▌', '▋', '▊', '▉'];

/** The scene, before it is built. */
export const scene = (result: Pick<ExperimentResult, 'link'>, seconds: number): string => {
  const { rateMbit, rttMs, fifoMs } = result.link;
  return `You share a line of ${rateMbit} mbit with strangers, who fetch from your torrent client
and send to it.

   lan ──────────── box ═══════════════════════ world
   your host,       the router   access link    servers, and
   behind NAT       under test   as ISPs sell   ${2 * REMOTE_FLOWS} strangers

The link carries ${rateMbit} mbit each way, with a round trip of ${rttMs} ms and FIFOs that hold
${fifoMs} ms. All stands in network namespaces of its own, with the kernel's real TCP,
NAT and queues; nothing of this machine is touched.

Under the load of ${REMOTE_FLOWS} strangers who fetch and ${REMOTE_FLOWS} who send, your ping, your download and
your upload are measured for ${seconds} s each: with nothing done, with one shaped queue for
all, and with Headgate. That takes about ${Math.round(experimentSeconds(seconds))} s.
`;
};

export const describeStep = ({ phase, step }: Pick<Progress, 'phase' | 'step'>): string =>
  `${TITLES[phase].padEnd(17)} ${STEPS[step].padEnd(17)}`;

interface Row {
  readonly title: string;
  readonly unit: string;
  readonly value: (phase: PhaseResult) => number | null;
}

const ROWS: readonly Row[] = [
  { title: 'ping, median', unit: 'ms', value: (p) => p.pingMs.p50 },
  { title: 'ping, 95 %', unit: 'ms', value: (p) => p.pingMs.p95 },
  { title: 'ping, lost', unit: '%', value: (p) => p.pingMs.lossPct },
  { title: 'your download', unit: 'mbit', value: (p) => p.localDownMbit },
  { title: 'your upload', unit: 'mbit', value: (p) => p.localUpMbit },
  { title: 'strangers send', unit: 'mbit', value: (p) => p.remoteDownMbit },
  { title: 'strangers fetch', unit: 'mbit', value: (p) => p.remoteUpMbit },
];

/** The figures side by side; bars are in proportion within their row. 80 columns. */
export function figures({ phases }: Pick<ExperimentResult, 'phases'>, color: boolean): string {
  const bold = (text: string) => (color ? `\x1b[1m${text}\x1b[0m` : text);
  const tint = (text: string, name: PhaseResult['name']) =>
    color ? `\x1b[${name === 'headgate' ? 32 : 33}m${text}\x1b[0m` : text;
  const width = 9 + BAR;
  const head = `${''.padEnd(21)}${PHASES.map((phase) => bold(TITLES[phase.name].padEnd(width))).join('')}`.trimEnd();
  const rows = ROWS.map(({ title, unit, value }) => {
    const values = phases.map(value);
    const most = Math.max(...values.map((v) => v ?? 0));
    const cells = values.map((v, i) => {
      const text = v === null ? 'none' : v.toFixed(1);
      const drawn = bar(v === null || most === 0 ? 0 : v / most);
      return `${text.padStart(5)} ${tint(drawn, phases[i]!.name)}${' '.repeat(width - 6 - drawn.length)}`;
    });
    return `${title.padEnd(16)}${unit.padStart(4)} ${cells.join('')}`.trimEnd();
  });
  return [head, ...rows].join('\n');
}

/** A bar for 0..1, to an eighth of a column; never empty for what is more than nothing. */
export function bar(part: number): string {
  const eighths = Math.min(8 * BAR, part > 0 ? Math.max(1, Math.round(part * 8 * BAR)) : 0);
  return '█'.repeat(eighths >> 3) + EIGHTHS[eighths & 7]!;
}

export function verdictSentence({
  link,
  phases,
  verdict,
}: Pick<ExperimentResult, 'link' | 'phases' | 'verdict'>): string {
  const before = phases.find((phase) => phase.name === 'nothing')!;
  const after = phases.find((phase) => phase.name === 'headgate')!;
  const ms = (phase: PhaseResult) => (phase.pingMs.p50 === null ? 'no answer' : `${phase.pingMs.p50.toFixed(0)} ms`);
  return (
    `${verdict.pass ? 'Passed' : 'NOT passed'}: with Headgate your download gets ${after.localDownMbit.toFixed(1)} of ${link.rateMbit} mbit ` +
    `instead of ${before.localDownMbit.toFixed(1)} (wanted: ${(GOAL.linkPart * link.rateMbit).toFixed(0)}), and the ping's median is ` +
    `${ms(after)} instead of ${ms(before)} (wanted: a third).`
  );
}
