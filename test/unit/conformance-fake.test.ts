// The conformance cases on a kernel in memory (test/fake): a second, independent reason for what they expect, and for each
// declared difference. test/kernel/conformance.test.ts and test/vm/guest/conformance*.test.ts have them on real ones.

import { describe, expect, test } from 'vitest';
import { DATAPATHS, type DatapathName } from '../../src/shape/index.ts';
import type { Limits } from '../fake/kernel.ts';
import { FakeStage } from '../fake/stage.ts';
import { CASES } from '../kernel/conformance-cases.ts';
import { DIFFERENCES } from '../kernel/conformance-differences.ts';
import { generalised } from '../kernel/conformance-stage.ts';

/** In the words of docs/limits.md. */
const LIMITS: Readonly<Record<DatapathName, Limits>> = {
  bpf: { echoByType: true, fewProtocols: true },
  ct: { fragments: 'none', shallow: true, zones: true, marksOrigin: true },
  mark: { fragments: 'first', noErrors: true, shallow: true, zones: true, marksOrigin: true },
  map: { fragments: 'first', noErrors: true, shallow: true, zones: true, echoByType: true, late: true },
};

describe('by the definition', () => {
  const stage = new FakeStage({});
  test.each(CASES)('$name', async ({ act, in: arriving, out }) => {
    const expected = { in: arriving, out };
    expect(generalised(await stage.counting(act), expected)).toEqual(expected);
  });
});

describe.each(DATAPATHS)('with what %s cannot tell', (datapath) => {
  const stage = new FakeStage(LIMITS[datapath]);
  test.each(CASES)('$name', async ({ name, act, in: arriving, out }) => {
    const { reason: _, ...difference } = DIFFERENCES[datapath].get(name) ?? { reason: undefined };
    const expected = { in: arriving, out, ...difference };
    expect(generalised(await stage.counting(act), expected)).toEqual(expected);
  });
});
