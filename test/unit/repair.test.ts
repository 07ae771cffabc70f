import { describe, expect, it } from 'vitest';
import { parsePolicy } from '../../src/language/index.ts';
import { DEFAULT_MARK_FIELD } from '../../src/model/index.ts';
import { MOST_REPAIRS, RepairBudget } from '../../src/service/repair-budget.ts';
import { bpfDatapath, type HeldLink, repairLink, shapePolicy } from '../../src/shape/index.ts';

const { policy } = parsePolicy(
  `link wan { device wan  download 50mbit  upload 20mbit }
queue mine { share 70% }
queue theirs { share 20%
  queue new { share 20% }
  queue seed { share 50% }
}
default local -> mine  remote -> seed  new -> new
`,
  'test.gate',
);
const [shape] = shapePolicy(policy!, new Set(['bfifo']));
const datapath = bpfDatapath({ ingress: 'in.o', egress: 'out.o', sort: '/o/sort.o', picks: [] }, DEFAULT_MARK_FIELD, 0);
const site = { ingressHook: false };
const minors = shape!.upload!.classes.map(({ minor }) => minor);
const leaves = shape!.upload!.classes.flatMap(({ minor, leaf }) => (leaf ? [minor] : []));
const tree = { classes: new Set([0x100, ...minors]), leaves: new Set(leaves) };
const ownership = { link: 'wan', device: 'wan', clsact: true, shared: [] };
const whole: HeldLink = {
  ifbs: new Map([['hg-wan', ownership]]),
  trees: new Map([
    ['wan', tree],
    ['hg-wan', tree],
  ]),
  hook: true,
  redirected: true,
  classified: true,
};
const repair = (held: Partial<HeldLink>) => {
  const { clear, operations } = repairLink(shape!, site, datapath, { ...whole, ...held });
  return { clear: clear.length, about: operations.map(({ about }) => about), operations };
};
const without = (set: ReadonlySet<number>, ...gone: number[]) => new Set([...set].filter((one) => !gone.includes(one)));

describe('a link’s part', () => {
  it('that is whole is left alone', () => {
    expect(repair({})).toEqual({ clear: 0, about: [], operations: [] });
  });

  it('without its redirect, or its hook, gets that alone', () => {
    expect(repair({ redirected: false })).toMatchObject({
      clear: 1,
      about: ['redirect what arrives on wan to hg-wan'],
    });
    expect(repair({ redirected: false, hook: false }).about).toEqual([
      'add clsact to wan',
      'redirect what arrives on wan to hg-wan',
    ]);
  });

  it('without its ifb is cleared of what leads there, and the redirect comes last', () => {
    const { clear, about } = repair({ ifbs: new Map(), trees: new Map([['wan', tree]]) });
    expect(clear).toBe(1);
    expect(about).toEqual([
      'add ifb hg-wan',
      'add the tree on hg-wan',
      'set hg-wan up',
      'redirect what arrives on wan to hg-wan',
    ]);
  });

  it('without a class gets it with its leaf, without a leaf that, and no other', () => {
    const [last] = leaves.slice(-1);
    const commands = (held: typeof tree) => {
      const trees = new Map([...whole.trees, ['hg-wan', held]]);
      return repair({ trees }).operations.map(({ command }) => command.input!.trim().split('\n'));
    };
    const hex = last!.toString(16);
    expect(commands({ classes: without(tree.classes, last!), leaves: without(tree.leaves, last!) })).toEqual([
      [
        expect.stringContaining(`class replace dev hg-wan parent 7fe0:10`),
        expect.stringContaining(`parent 7fe0:${hex} `),
      ],
    ]);
    expect(commands({ ...tree, leaves: without(tree.leaves, last!) })).toEqual([
      [expect.stringMatching(new RegExp(`^qdisc replace dev hg-wan parent 7fe0:${hex} handle 7f0${hex}: bfifo`))],
    ]);
  });

  it('without what classifies at its root gets that; without the root all of it', () => {
    expect(repair({ classified: false }).about).toEqual(['classify what leaves wan']);
    expect(repair({ trees: new Map([['hg-wan', tree]]) }).about).toEqual([
      'add the tree on wan',
      'classify what leaves wan',
    ]);
  });
});

describe('the budget of repairs', () => {
  it('is for a minute, and once spent stays so until it is refilled', () => {
    let now = 0;
    const budget = new RepairBudget(() => now);
    for (let i = 0; i < 3 * MOST_REPAIRS; i++) {
      expect(budget.isSpent).toBe(false);
      budget.note();
      now += 60_000 / MOST_REPAIRS + 1;
    }
    for (let i = 0; i < MOST_REPAIRS; i++) budget.note();
    expect(budget.isSpent).toBe(true);
    now += 600_000;
    expect(budget.isSpent).toBe(true);
    budget.refill();
    expect(budget.isSpent).toBe(false);
  });
});
