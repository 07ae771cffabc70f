import { rate } from './format.ts';
import { GAP_MS, MOST_POINTS, type Point } from './history.ts';

/** Where the figures of the axis stand. */
const LEFT = 64;
const BOTTOM = 18;
const TOP = 8;
const INTERVAL_MS = 1000;

/** Colours of queues by their place in the policy; page.css has them for light and dark. */
export const COLORS = 8;
export const colorName = (index: number): string => `--queue-${index % COLORS}`;

/** What one way of a link carried, a layer for each queue, under the line of what it may carry. */
export function drawChart(
  canvas: HTMLCanvasElement,
  points: readonly Point[],
  names: readonly string[],
  most: number | undefined,
): void {
  const { width, height } = scaled(canvas);
  const context = canvas.getContext('2d');
  if (!context || width < LEFT + 20) return;
  const style = getComputedStyle(canvas);
  const peak = Math.max(...points.map((point) => sum(point)), 1000);
  const top = Math.max(peak, most ?? 0) * 1.08;
  const right = width - 4;
  const end = points.at(-1)?.time ?? 0;
  const x = (time: number) => right - ((end - time) / ((MOST_POINTS - 1) * INTERVAL_MS)) * (right - LEFT);
  const y = (value: number) => height - BOTTOM - (value / top) * (height - BOTTOM - TOP);

  context.clearRect(0, 0, width, height);
  context.font = `12px ${style.fontFamily}`;
  context.textAlign = 'right';
  context.textBaseline = 'middle';
  for (const part of [0, 0.25, 0.5, 0.75, 1]) {
    const value = (most ?? peak) * part;
    context.strokeStyle = style.getPropertyValue('--line');
    line(context, LEFT, right, y(value));
    context.fillStyle = style.getPropertyValue('--quiet');
    context.fillText(rate(value), LEFT - 6, y(value));
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
      const values = run.map((point, i) => floor[i]! + (point.queues!.find((q) => q.name === name)?.rate ?? 0));
      context.fillStyle = style.getPropertyValue(colorName(index));
      context.beginPath();
      run.forEach((point, i) => {
        context.lineTo(x(point.time), y(values[i]!));
      });
      for (let i = run.length - 1; i >= 0; i--) context.lineTo(x(run[i]!.time), y(floor[i]!));
      context.fill();
      values.forEach((value, i) => {
        floor[i] = value;
      });
    });
  }
  if (most === undefined) return;
  context.strokeStyle = style.getPropertyValue('--text');
  context.setLineDash([6, 4]);
  line(context, LEFT, right, y(most));
  context.setLineDash([]);
}

const sum = ({ queues }: Point): number => (queues ?? []).reduce((all, { rate }) => all + rate, 0);

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
