// What benchmarks found, in a file each, from which write-performance.ts makes docs/performance.md.

import { mkdirSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';

export const RESULTS = join(import.meta.dirname, '.results');

export interface Figure {
  readonly what: string;
  readonly value: number;
  readonly unit: string;
  /** What it was to be. */
  readonly goal?: { readonly most?: number; readonly least?: number } | undefined;
}

/** Notes the figures of one subject, and prints them. */
export function note(subject: string, figures: readonly Figure[]): void {
  mkdirSync(RESULTS, { recursive: true });
  const file = join(RESULTS, `${subject.replace(/[^a-z0-9]+/gi, '-')}.json`);
  writeFileSync(file, `${JSON.stringify({ subject, figures }, undefined, 2)}\n`);
  process.stdout.write(`\n${subject}\n${figures.map((figure) => `  ${format(figure).join('  ')}`).join('\n')}\n`);
}

/** What, the value, what it was to be, and whether it is. */
export function format({ what, value, unit, goal }: Figure): string[] {
  const figure = (n: number) =>
    Math.abs(n) >= 100 ? Math.round(n).toLocaleString('en') : String(Number(n.toPrecision(2)));
  const wanted =
    goal?.most !== undefined
      ? `at most ${figure(goal.most)}`
      : goal?.least !== undefined
        ? `at least ${figure(goal.least)}`
        : '';
  const met =
    !goal || (value <= (goal.most ?? Number.POSITIVE_INFINITY) && value >= (goal.least ?? Number.NEGATIVE_INFINITY));
  return [what, `${figure(value)} ${unit}`.trim(), wanted, goal ? (met ? 'yes' : '**no**') : ''];
}
