import { afterAll, beforeAll, describe, expect, test } from 'vitest';
import { CASES } from './conformance-cases.ts';
import { DIFFERENCES } from './conformance-differences.ts';
import { ConformanceLab, type Setting } from './conformance-lab.ts';

/** Declares the suite for each setting: a test for each case, with what the datapath is known to do instead. */
export function conformance(settings: readonly Setting[]): void {
  describe.each(settings)('datapath $datapath, tree $tree, over $link', (setting) => {
    let lab: ConformanceLab | undefined;
    beforeAll(async () => {
      lab = await ConformanceLab.build(setting);
    });
    afterAll(() => lab?.close());

    const cases = CASES.filter(({ frames }) => !frames || setting.link === 'veth');
    test.each(cases)('$name', async ({ name, act, in: arriving, out }) => {
      const { reason: _, ...difference } = DIFFERENCES[setting.datapath].get(name) ?? { reason: undefined };
      const expected = { in: arriving, out, ...difference };
      expect(await lab!.counting(() => act(lab!), expected)).toEqual(expected);
    });
  });
}
