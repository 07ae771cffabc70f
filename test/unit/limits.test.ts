import { readFileSync } from 'node:fs';
import { expect, it } from 'vitest';
import { DATAPATHS } from '../../src/shape/index.ts';
import { CASES } from '../kernel/conformance-cases.ts';
import { DIFFERENCES, REASONS } from '../kernel/conformance-differences.ts';

const limits = readFileSync(new URL('../../docs/limits.md', import.meta.url), 'utf8');
/** Datapaths by what the table says of them. */
const rows = new Map(
  [...limits.matchAll(/^\| (`(?:bpf|ct|mark|map)`(?:, `\w+`)*) \| ([^|]+) \|/gm)].map(([, names, what]) => [
    what!,
    [...names!.matchAll(/`(\w+)`/g)].map(([, name]) => name!),
  ]),
);

it('docs/limits.md names each difference that the conformance suite declares, with the datapaths that have it', () => {
  for (const [key, what] of Object.entries(REASONS)) {
    const declared = DATAPATHS.filter((name) => [...DIFFERENCES[name].values()].some(({ reason }) => reason === key));
    expect({ what, datapaths: rows.get(what) }).toEqual({ what, datapaths: declared });
  }
});

it('each declared difference is of a case that there is, and differs from it', () => {
  const cases = new Map(CASES.map((one) => [one.name, one]));
  expect(cases.size).toBe(CASES.length);
  for (const name of DATAPATHS)
    for (const [of, { reason: _, ...difference }] of DIFFERENCES[name]) {
      const { in: arriving, out } = cases.get(of) ?? { in: undefined, out: undefined };
      expect(arriving, of).toBeDefined();
      expect({ in: arriving, out, ...difference }, of).not.toEqual({ in: arriving, out });
    }
});
