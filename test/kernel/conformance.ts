import { afterAll, beforeAll, describe, expect, test } from 'vitest';
import { CASES } from './conformance-cases.ts';
import { DIFFERENCES } from './conformance-differences.ts';
import { ConformanceLab, type Setting } from './conformance-lab.ts';

/**
 * Declares the suite for each setting: a test for each case, with what the datapath is known to do instead. Those over
 * one kind of link come one after the other in one place, so its flows are older than all but the first's `up`.
 */
export function conformance(settings: readonly Setting[]): void {
  describe.each([...new Set(settings.map(({ link }) => link))])('over %s', (link) => {
    let lab: ConformanceLab | undefined;
    beforeAll(async () => {
      lab = await ConformanceLab.build(link);
    });
    afterAll(() => lab?.close());

    describe.each(settings.filter((setting) => setting.link === link))('datapath $datapath, tree $tree', (setting) => {
      beforeAll(() => lab!.up(setting));
      afterAll(() => lab?.down());

      const cases = CASES.filter(({ frames }) => !frames || link === 'veth');
      test.each(cases)('$name', async ({ name, act, in: arriving, out }) => {
        const { reason: _, ...difference } = DIFFERENCES[setting.datapath].get(name) ?? { reason: undefined };
        const expected = { in: arriving, out, ...difference };
        expect(await lab!.counting(() => act(lab!), expected)).toEqual(expected);
      });
    });
  });
}
