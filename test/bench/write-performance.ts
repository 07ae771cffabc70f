// Behind the benchmarks, writes docs/performance.md from what they have found, now or earlier (report.ts).

import { execFileSync } from 'node:child_process';
import { existsSync, readdirSync, readFileSync, writeFileSync } from 'node:fs';
import { cpus, release, totalmem } from 'node:os';
import { join, resolve } from 'node:path';
import { type Figure, format, RESULTS } from './report.ts';

const version = (...[program, ...args]: readonly [string, ...string[]]): string => {
  try {
    return execFileSync(program, args, { encoding: 'utf8' }).split('\n')[0]!.trim();
  } catch {
    return `${program}: not here`;
  }
};

/** vitest calls it at the end. */
export function teardown(): void {
  if (!existsSync(RESULTS)) return;
  const subjects = readdirSync(RESULTS)
    .toSorted()
    .map((file) => JSON.parse(readFileSync(join(RESULTS, file), 'utf8')) as { subject: string; figures: Figure[] });
  const lines = [
    '# Performance',
    '',
    'Written by `npm run bench`; no figure here was typed by hand. A goal that is not met says so. Ratios are of one run;',
    'the machine was shared while they were taken, which makes times longer than they need be.',
    '',
    `Machine: ${cpus().length} × ${cpus()[0]?.model.trim()}, ${Math.round(totalmem() / 2 ** 30)} GiB, Linux ${release()}.`,
    `Versions: node ${process.version}, ${version('conntrack', '--version')}, ${version('ulogd', '--version')}, ${version('gcc', '--version')}.`,
    ...subjects.flatMap(({ subject, figures }) => [
      '',
      `## ${subject.charAt(0).toUpperCase()}${subject.slice(1)}`,
      '',
      '| what | | goal | met |',
      '| --- | --- | --- | --- |',
      ...figures.map((figure) => `| ${format(figure).join(' | ')} |`),
    ]),
  ];
  writeFileSync(resolve(import.meta.dirname, '../../docs/performance.md'), `${lines.join('\n')}\n`);
}
