import { stripVTControlCharacters } from 'node:util';
import { formatDuration } from '../language/index.ts';
import { formatRate, formatSizeInShort, type Origin, type Rate } from '../model/index.ts';
import type { FlowList, ListedFlow } from '../service/index.ts';
import type { Figures, QueueFigure } from './figures.ts';

/** What flows are sorted by, in the order in which the key goes through it. */
export const SORTS = ['rate', 'bytes', 'age', 'queue'] as const;
export type Sort = (typeof SORTS)[number];

/** What is to be shown. */
export interface View {
  /** Undefined before the first answer. */
  readonly figures: Figures | undefined;
  /** In their order; undefined before they were asked for. */
  readonly list: FlowList | undefined;
  readonly sort: Sort;
  /** Condition of the policy language that flows have to meet; `typing` while it is being typed. */
  readonly filter: string;
  readonly typing: boolean;
  readonly paused: boolean;
  readonly help: boolean;
  /** Flows that are scrolled past. */
  readonly scroll: number;
  /** What went wrong last. */
  readonly problem?: string | undefined;
  /** `10:02:11`. */
  readonly clock: string;
}

export interface Style {
  readonly columns: number;
  readonly rows: number;
  readonly color: boolean;
  /** The terminal shows Unicode; else ASCII alone. */
  readonly unicode: boolean;
}

type Paint = 'bold' | 'dim' | 'green' | 'yellow' | 'red' | 'inverse';
const SGR: Readonly<Record<Paint, readonly [number, number]>> = {
  bold: [1, 22],
  dim: [2, 22],
  green: [32, 39],
  yellow: [33, 39],
  red: [31, 39],
  inverse: [7, 27],
};

/** Columns of a queue's line besides name and bar: rate, ceiling, drops, backlog, and the spaces between. */
const QUEUE_FIGURES = 46;
const MOST_NAME = 16;
const LEAST_BAR = 4;
/** Columns of a terminal. */
const MUCH_ROOM = 100;

/**
 * The whole screen: at most `rows` lines of at most `columns` columns each. The queues come first, for they are what one
 * looks for; flows have what room is left.
 */
export function drawFrame(view: View, style: Style): string[] {
  const paint = (text: string, ...how: Paint[]): string =>
    style.color ? how.reduce((inner, one) => `\u001b[${SGR[one][0]}m${inner}\u001b[${SGR[one][1]}m`, text) : text;
  const within = (text: string): string => cut(text, style.columns);
  const queues = view.help ? [] : drawQueues(view.figures?.queues ?? [], style, paint);
  const lines = [paint(within(titleOf(view)), 'bold'), ...queues];
  const foot = paint(within(footOf(view, style.columns)), view.problem === undefined ? 'dim' : 'red');
  const body = view.help ? HELP.map(within) : drawFlows(view, style, style.rows - lines.length - 1, paint);
  const room = Math.max(0, style.rows - 1);
  const shown = [...lines, ...body].slice(0, room);
  while (shown.length < room) shown.push('');
  return [...shown, foot].slice(0, style.rows);
}

function titleOf({ figures, paused, clock }: View): string {
  if (!figures) return `headgate  ${clock}  waiting for an answer`;
  const { links, service } = figures.status;
  const states = links.map(({ device, state }) => `${device} ${state}`).join(', ');
  const flows = service?.flows;
  const counts = flows ? `flows ${flows.total} (local ${flows.local}, remote ${flows.remote}, new ${flows.new})` : '';
  return [paused ? 'PAUSED' : 'headgate', clock, states || 'no links', service?.datapath ?? 'no service', counts]
    .filter(Boolean)
    .join('  ');
}

function footOf({ typing, filter, problem, sort, help, list }: View, columns: number): string {
  if (typing) {
    const [before, behind, keys] = ['where: ', '_', '   Enter: apply  Esc: leave'];
    // The end is what is being typed.
    const shown = filter.slice(-Math.max(1, columns - before.length - behind.length));
    return `${before}${shown}${behind}${columns < before.length + shown.length + behind.length + keys.length ? '' : keys}`;
  }
  if (problem !== undefined) return problem;
  if (help) return 'any key: back';
  const unknown = filter ? (list?.unknown ?? []) : [];
  if (unknown.length > 0)
    return `not known of every flow: ${unknown.join(', ')}  / where (${filter})  Esc: all  ? help`;
  return `q quit  p pause  s sort (${sort})  up/down scroll  ? help  / where${filter ? ` (${filter})` : ''}`;
}

const HELP = [
  '',
  'Each line is a queue: what it sent a second, of what it may at most (the bar),',
  'with a mark at what it is guaranteed; packets that it dropped a second, and in',
  'all; bytes that wait in it.',
  '',
  '  q, Ctrl-C     quit',
  '  p, Space      pause, and go on',
  `  s             sort flows by ${SORTS.join(', ')}`,
  '  /             show flows that meet a condition of the policy language,',
  '                such as: origin remote and remote.port 51413; Esc: all',
  '  up, down      scroll flows; PgUp, PgDn, Home, too',
  '  Ctrl-Z        to the shell; fg brings it back',
];

type Painter = (text: string, ...how: Paint[]) => string;

function drawQueues(queues: readonly QueueFigure[], style: Style, paint: Painter): string[] {
  const wide = style.columns >= QUEUE_FIGURES + MOST_NAME + LEAST_BAR;
  const nameWidth = Math.min(MOST_NAME, Math.max(5, ...queues.map(({ name }) => name.length)));
  const barWidth = Math.max(LEAST_BAR, style.columns - QUEUE_FIGURES - nameWidth);
  const lines: string[] = [];
  let group = '';
  for (const queue of queues) {
    const title = `${queue.link} ${queue.way}`;
    if (title !== group) {
      const head = wide
        ? `${title.padEnd(nameWidth + barWidth + 1)} ${'rate'.padStart(9)} ${'of'.padStart(9)} ${'drops/s'.padStart(8)} ${'drops'.padStart(7)} ${'waits'.padStart(7)}`
        : title;
      lines.push(paint(cut(head, style.columns), 'inverse'));
      group = title;
    }
    lines.push(drawQueue(queue, nameWidth, barWidth, wide, style, paint));
  }
  return lines;
}

function drawQueue(
  queue: QueueFigure,
  nameWidth: number,
  barWidth: number,
  wide: boolean,
  style: Style,
  paint: Painter,
): string {
  const name = cut(queue.name, nameWidth).padEnd(nameWidth);
  const rate = short(queue.rate).padStart(9);
  if (!wide) return cut(`${name} ${rate}`, style.columns);
  const drops = queue.dropRate === undefined ? '-' : `${Math.round(queue.dropRate)}`;
  return [
    name,
    drawBar(queue, barWidth, style, paint),
    rate,
    short(queue.ceil ?? queue.share).padStart(9),
    queue.dropRate ? paint(cut(drops, 8).padStart(8), 'yellow') : drops.padStart(8),
    counted(queue.drops).padStart(7),
    counted(queue.backlogBytes).padStart(7),
  ].join(' ');
}

/** Up to the rate full, with a mark at the guaranteed share: what is beyond it is borrowed. */
function drawBar({ rate = 0, share, ceil }: QueueFigure, width: number, { unicode }: Style, paint: Painter): string {
  const whole = ceil ?? share;
  const [full, empty, mark] = unicode ? ['█', '·', '│'] : ['#', '.', '|'];
  if (!whole) return ' '.repeat(width);
  const filled = Math.min(width, Math.round((rate / whole) * width));
  const at = share === undefined || share >= whole ? -1 : Math.floor((share / whole) * width);
  let own = '';
  let borrowed = '';
  let rest = '';
  for (let i = 0; i < width; i++)
    if (i >= filled) rest += i === at ? mark : empty;
    else if (at >= 0 && i > at) borrowed += full;
    else own += i === at ? mark : full;
  return paint(own, 'green') + paint(borrowed, 'yellow') + paint(rest, 'dim');
}

const ORIGIN_PAINT: Readonly<Record<Origin, readonly Paint[]>> = { local: [], remote: ['yellow'], new: ['dim'] };

/** A column of the flows besides which they are: its head, its width (negative: to the right), and the least width of a terminal that shows it. */
const COLUMNS: readonly {
  readonly head: string;
  readonly width: number;
  readonly from: number;
  /** Its width where there is much room. */
  readonly wide?: number;
  /** Shown only while they are sorted by it. */
  readonly sort?: Sort;
  readonly of: (flow: ListedFlow) => string;
}[] = [
  { head: 'opened', width: 6, from: 60, of: ({ origin }) => origin },
  { head: 'queue', width: 8, from: 50, of: ({ queue }) => queue },
  { head: 'rule', width: 10, wide: 20, from: 80, of: ({ rule = '-' }) => rule },
  {
    ...{ head: 'bytes', width: -7, from: 50, sort: 'bytes' },
    of: ({ bytes }) => (bytes ? formatSizeInShort(bytes.in + bytes.out) : '-'),
  },
  {
    ...{ head: 'age', width: -7, from: 50, sort: 'age' },
    of: ({ age }) => (age === undefined ? '-' : formatDuration(Math.round(age / 1000) * 1000)),
  },
  { head: 'in', width: -8, from: 30, of: ({ rate }) => short(rate?.in) },
  { head: 'out', width: -8, from: 40, of: ({ rate }) => short(rate?.out) },
];

function drawFlows({ list, scroll, filter, sort }: View, style: Style, room: number, paint: Painter): string[] {
  if (room < 2 || list === undefined) return [];
  const columns = COLUMNS.filter(({ from, sort: only = sort }) => style.columns >= from && only === sort).map(
    (column) => ({ ...column, width: style.columns >= MUCH_ROOM ? (column.wide ?? column.width) : column.width }),
  );
  const first = columns.reduce((left, { width }) => left - Math.abs(width) - 1, style.columns);
  const line = (who: string, cell: (column: (typeof COLUMNS)[number]) => string): string =>
    [cut(who, first).padEnd(first), ...columns.map((column) => align(cell(column), column.width))].join(' ');
  const lines = [
    paint(
      line(filter ? `${list.matched} of ${list.total} flows` : `${list.total} flows`, ({ head }) => head),
      'inverse',
    ),
  ];
  if (list.flows.length === 0) lines.push(cut(filter ? 'no flow meets the condition' : 'no flows', style.columns));
  for (const flow of list.flows.slice(scroll, scroll + room - 1)) {
    const who = [flow.protocol, flow.domains?.[0], flow.process ?? flow.unit, flow.remote, flow.local]
      .filter((part) => part !== undefined)
      .join(' ');
    lines.push(
      paint(
        line(who, ({ of }) => of(flow)),
        ...ORIGIN_PAINT[flow.origin],
      ),
    );
  }
  return lines;
}

const align = (text: string, width: number): string =>
  width < 0 ? cut(text, -width).padStart(-width) : cut(text, width).padEnd(width);

const short = (rate: Rate | undefined): string => (rate === undefined ? '-' : formatRate(rate));

const UNITS = ['', 'k', 'M', 'G', 'T', 'P'];

/** `1234`, `12.3k`: at most six columns. */
export function counted(number: number): string {
  let unit = 0;
  let value = number;
  for (; value >= 10_000 && unit < UNITS.length - 1; unit++) value /= 1000;
  return `${unit > 0 && value < 100 ? value.toFixed(1) : Math.round(value)}${UNITS[unit]}`;
}

/** What others have named goes to the terminal without anything that it would obey. */
function cut(text: string, width: number): string {
  const plain = stripVTControlCharacters(text).replace(/[\u0000-\u001f\u007f-\u009f]/g, '?');
  return plain.length <= width ? plain : width > 1 ? `${plain.slice(0, width - 1)}~` : plain.slice(0, width);
}
