import { duration, rate } from './format.ts';
import { GAP_MS, MOST_POINTS, type Point } from './history.ts';

/** Where the figures of the axis stand. */
const LEFT = 64;
const BOTTOM = 18;
const TOP = 8;
const INTERVAL_MS = 1000;

/** Colours of queues by their place in the policy; page.css has them for light and dark. */
export const COLORS = 8;
export const colorName = (index: number): string => `--queue-${index % COLORS}`;

/** What a chart can show over time. */
export interface Measure {
  /** One upon the other, as parts of a whole. */
  readonly stacked: boolean;
  readonly format: (value: number) => string;
  /** Absent: what it shows is by queue. */
  readonly names?: (points: readonly Point[]) => readonly string[];
  /** Undefined: not known. */
  readonly value: (point: Point, name: string) => number | undefined;
}

const queueOf = ({ queues }: Point, name: string) => queues?.find((queue) => queue.name === name);
const perSecond = (value: number): string => `${Number(value.toPrecision(3))}/s`;

/** By the values of the choice in index.html. */
export const MEASURES: Readonly<Record<string, Measure>> = {
  rate: { stacked: true, format: rate, value: (point, name) => queueOf(point, name)?.rate ?? 0 },
  drops: { stacked: true, format: perSecond, value: (point, name) => queueOf(point, name)?.drops ?? 0 },
  delay: { stacked: false, format: duration, value: (point, name) => queueOf(point, name)?.delay },
  origins: {
    stacked: true,
    format: perSecond,
    names: (points) => {
      const seen = points.flatMap(({ verdicts }) => Object.keys(verdicts).filter((name) => verdicts[name]! > 0));
      return [...new Set(seen)].sort();
    },
    value: ({ verdicts }, name) => verdicts[name] ?? 0,
  },
};

/** Draws a measure over time, a layer or a line for each name; `most`: the line of what the link may carry. */
export function drawChart(
  canvas: HTMLCanvasElement,
  { stacked, format, value }: Measure,
  points: readonly Point[],
  names: readonly string[],
  most: number | undefined,
): void {
  const { width, height } = scaled(canvas);
  const context = canvas.getContext('2d');
  if (!context || width < LEFT + 20) return;
  const style = getComputedStyle(canvas);
  const color = (name: string) => style.getPropertyValue(name);
  const heights = points.map((point) => {
    const values = names.map((name) => value(point, name) ?? 0);
    return stacked ? values.reduce((all, one) => all + one, 0) : Math.max(0, ...values);
  });
  const peak = Math.max(...heights, 1);
  const scale = Math.max(peak, most ?? 0) * 1.08;
  const right = width - 4;
  const end = points.at(-1)?.time ?? 0;
  const x = (time: number) => right - ((end - time) / ((MOST_POINTS - 1) * INTERVAL_MS)) * (right - LEFT);
  const y = (of: number) => height - BOTTOM - (of / scale) * (height - BOTTOM - TOP);

  context.clearRect(0, 0, width, height);
  context.font = `12px ${style.fontFamily}`;
  context.textAlign = 'right';
  context.textBaseline = 'middle';
  for (const part of [0, 0.25, 0.5, 0.75, 1]) {
    const at = (most ?? peak) * part;
    context.strokeStyle = color('--line');
    line(context, LEFT, right, y(at));
    context.fillStyle = color('--quiet');
    context.fillText(format(at), LEFT - 6, y(at));
  }
  context.textBaseline = 'bottom';
  for (const seconds of [0, 60, 120]) {
    const text = seconds === 0 ? 'now' : `${seconds / 60} min ago`;
    context.textAlign = seconds === 0 ? 'right' : 'center';
    context.fillText(text, x(end - seconds * 1000), height - 1);
  }

  for (const run of runsOf(points)) {
    const floor = run.map(() => 0);
    names.forEach((name, index) => {
      const values = run.map((point) => value(point, name));
      context.fillStyle = color(colorName(index));
      context.strokeStyle = context.fillStyle;
      context.beginPath();
      run.forEach((point, i) => {
        const of = values[i];
        if (of !== undefined) context.lineTo(x(point.time), y(stacked ? floor[i]! + of : of));
      });
      if (!stacked) {
        context.lineWidth = 2;
        context.stroke();
        context.lineWidth = 1;
        return;
      }
      for (let i = run.length - 1; i >= 0; i--) context.lineTo(x(run[i]!.time), y(floor[i]!));
      context.fill();
      values.forEach((of, i) => {
        floor[i]! += of ?? 0;
      });
    });
  }
  if (most === undefined) return;
  context.strokeStyle = color('--text');
  context.setLineDash([6, 4]);
  line(context, LEFT, right, y(most));
  context.setLineDash([]);
}

/** Points that follow each other; what is not known between two of them stays empty. */
function runsOf(points: readonly Point[]): Point[][] {
  const runs: Point[][] = [[]];
  let last: Point | undefined;
  for (const point of points) {
    if (!point.queues || (last && point.time - last.time > GAP_MS)) runs.push([]);
    if (point.queues) runs.at(-1)!.push(point);
    last = point;
  }
  return runs.filter((run) => run.length > 1);
}

function line(context: CanvasRenderingContext2D, from: number, to: number, y: number): void {
  context.beginPath();
  context.moveTo(from, y);
  context.lineTo(to, y);
  context.stroke();
}

/** Gives the canvas as many pixels as it takes on this screen; the size is in those of CSS. */
function scaled(canvas: HTMLCanvasElement): { readonly width: number; readonly height: number } {
  const { clientWidth: width, clientHeight: height } = canvas;
  const ratio = window.devicePixelRatio || 1;
  if (canvas.width !== Math.round(width * ratio) || canvas.height !== Math.round(height * ratio)) {
    canvas.width = Math.round(width * ratio);
    canvas.height = Math.round(height * ratio);
  }
  canvas.getContext('2d')?.setTransform(ratio, 0, 0, ratio, 0, 0);
  return { width, height };
}
