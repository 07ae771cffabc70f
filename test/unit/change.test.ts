// Any links become any others: at no step, forward or back, does a redirect lead to an ifb that is not there, or is down.

import fc from 'fast-check';
import { describe, expect, it } from 'vitest';
import type { Leaf, LinkPolicy, Policy, QueuePolicy } from '../../src/language/index.ts';
import { type Command, DEFAULT_MARK_FIELD } from '../../src/model/index.ts';
import {
  besideName,
  bpfDatapath,
  changeLinks,
  changeTree,
  computeTree,
  type LinkShape,
  linkOperations,
  nameAsThere,
  nameBeside,
  type Operation,
  parseAlias,
  type Qdisc,
  type Standing,
  shapePolicy,
} from '../../src/shape/index.ts';

const picks = ['/o/pick-1.o', '/o/pick-2.o', '/o/pick-3.o'];
const datapath = bpfDatapath(
  { ingress: '/o/ingress.o', egress: '/o/egress.o', sort: '/o/sort.o', picks },
  DEFAULT_MARK_FIELD,
  0,
);
const qdiscs = new Set<Qdisc>(['bfifo', 'tbf', 'prio', 'cake']);

/** Ifbs, and where what arrives on a device is sent: as much of a kernel as the order of steps depends on. */
class Model {
  readonly ifbs = new Map<string, { alias: string; up: boolean }>();
  readonly filters = new Map<string, Map<number, string | undefined>>();
  readonly hooks = new Set<string>();

  /** A command goes as far as it gets; true: all of it. */
  run({ argv, input }: Command): boolean {
    const lines =
      input === undefined
        ? [argv.slice(1)]
        : input
            .trim()
            .split('\n')
            .map((line) => line.split(' '));
    const tries = argv.includes('-force');
    return lines.every((words) => this.#do(argv[0], words) || tries) && (!tries || lines.length > 0);
  }

  #do(tool: string, words: readonly string[]): boolean {
    const after = (word: string) => words[words.indexOf(word) + 1]!;
    const [what, verb] = words;
    if (tool === 'ip' && verb === 'add') {
      const name = after('name');
      if (this.ifbs.has(name)) return false;
      this.ifbs.set(name, { alias: '', up: false });
    } else if (tool === 'ip' && verb === 'del') return this.ifbs.delete(words[2]!);
    else if (tool === 'ip') {
      const ifb = this.ifbs.get(words.includes('dev') ? after('dev') : words[2]!);
      if (!ifb) return false;
      if (words.includes('alias'))
        ifb.alias = words
          .slice(words.indexOf('alias') + 1)
          .join(' ')
          .replaceAll('"', '');
      else ifb.up = true;
    } else if (what === 'qdisc' && words.at(-1) === 'clsact') {
      const had = this.hooks.has(after('dev'));
      if (verb === 'add') this.hooks.add(after('dev'));
      else {
        this.hooks.delete(after('dev'));
        this.filters.delete(after('dev'));
      }
      return had === (verb === 'del');
    } else if (what === 'filter' && words.includes('ingress')) {
      const [device, pref] = [after('dev'), Number(after('pref'))];
      const filters = this.filters.get(device) ?? new Map<number, string | undefined>();
      if (verb === 'del') return filters.delete(pref);
      if (!this.hooks.has(device)) return false;
      this.filters.set(device, filters.set(pref, words.includes('redirect') ? words.at(-1) : undefined));
    }
    return true;
  }

  /** What of the redirects is wrong. */
  deadEnds(): string[] {
    const ends = [...this.filters].flatMap(([device, filters]) =>
      [...filters.values()].map((to) => [device, to] as const),
    );
    return ends.flatMap(([device, to]) => (to !== undefined && !this.ifbs.get(to)?.up ? [`${device} to ${to}`] : []));
  }

  standing(): Standing {
    const ifbs = new Map([...this.ifbs].map(([name, { alias }]) => [name, parseAlias(alias)!]));
    const redirected = [...this.filters].filter(([, filters]) => filters.size > 0).map(([device]) => device);
    return { absent: new Set(), ifbs, hooks: this.hooks, bareHooks: this.hooks, redirected: new Set(redirected) };
  }

  text(): string {
    const filters = [...this.filters].map(([device, of]) => [device, [...of].sort((a, b) => a[0] - b[0])] as const);
    const ifbs = [...this.ifbs].map(([name, ifb]) => [name, ifb.up, parseAlias(ifb.alias)?.device, sharers(ifb.alias)]);
    return JSON.stringify([ifbs.sort(), filters.filter(([, of]) => of.length > 0).sort(), [...this.hooks].sort()]);
  }

  copy(): Model {
    const copy = new Model();
    for (const [name, ifb] of this.ifbs) copy.ifbs.set(name, { ...ifb });
    for (const [device, filters] of this.filters) copy.filters.set(device, new Map(filters));
    for (const hook of this.hooks) copy.hooks.add(hook);
    return copy;
  }
}
const sharers = (alias: string) =>
  parseAlias(alias)
    ?.shared.map(({ device }) => device)
    .sort();

const perhaps = <T>(...values: T[]) => fc.constantFrom(undefined, ...values);
const ownLink = (device: string) =>
  fc
    .record({
      download: perhaps(1e7, 2e7),
      upload: perhaps(1e6),
      tree: fc.constantFrom('htb', 'prio', 'cake'),
      ifbPer: perhaps('origin'),
      numtxqueues: perhaps(2),
    })
    .map((link) => ({ ...link, name: device, device }) as LinkPolicy);
const links: fc.Arbitrary<LinkPolicy[]> = fc
  .tuple(ownLink('a'), ownLink('b'), ownLink('c'), fc.subarray(['a', 'b', 'c']), fc.boolean())
  .map(([a, b, c, there, shares]) => {
    const all = [a, b, c].filter(({ name }) => there.includes(name));
    const owner = all.find(({ download }) => download !== undefined);
    return all.map((link): LinkPolicy => {
      const joins = shares && owner && link !== owner;
      return joins ? { name: link.name, device: link.device!, tree: 'htb', shareTreeWith: owner.name } : link;
    });
  });
const policies: fc.Arbitrary<Policy> = fc
  .record({
    links,
    leaf: fc.constantFrom<Leaf>('bfifo', 'tbf'),
    nested: fc.boolean(),
    share: fc.constantFrom(0.1, 0.2),
  })
  .map(({ links: of, leaf, nested, share }) => ({
    ...{ file: '', links: of, sets: [], rules: [], expects: [], needs: {} as Policy['needs'] },
    queues: [
      { name: 'local', share: 0.6, ceiling: 1, leaf },
      { name: 'theirs', share: 0.3, ceiling: 1 },
      { name: 'remote', share, ceiling: 1, ...(nested && { parent: 'theirs' }) },
      { name: 'new', share, ceiling: 1, parent: 'theirs' },
    ].toSorted((a, b) => Number('parent' in a) - Number('parent' in b)) as QueuePolicy[],
    defaults: { local: 'local', remote: 'remote', new: 'new' },
  }));

function build(shapes: readonly LinkShape[]): Model {
  const model = new Model();
  for (const shape of shapes) {
    const { ifbs, hooks } = model.standing();
    const site = { ingressHook: hooks.has(shape.device), ifbs };
    for (const { command } of linkOperations(shape, site, datapath)) expect(model.run(command)).toBe(true);
  }
  return model;
}

/** Undoes the first steps in a copy, the last first, with one that was never tried on top. */
function expectWayBack(model: Model, steps: readonly Operation[], before: string): void {
  const copy = model.copy();
  for (const { undo } of [...steps].reverse()) {
    if (undo) copy.run(undo);
    expect(copy.deadEnds()).toEqual([]);
  }
  expect(copy.text()).toBe(before);
}

describe('changeLinks', () => {
  it('never sends anything nowhere, ends at what is wanted, and can be undone from every step', () => {
    fc.assert(
      fc.property(policies, policies, (first, second) => {
        const from = shapePolicy(first, qdiscs);
        const to = nameBeside(from, shapePolicy(second, qdiscs));
        const model = build(from);
        const { before, after } = changeLinks({ shapes: from, datapath }, { shapes: to, datapath }, model.standing());
        const begun = model.text();
        for (const [i, { command, about }] of before.entries()) {
          expectWayBack(model, before.slice(0, i + 1), begun);
          expect([about, model.run(command)]).toEqual([about, true]);
          expect(model.deadEnds()).toEqual([]);
          expectWayBack(model, before.slice(0, i + 1), begun);
        }
        for (const { command, about } of after) {
          expect([about, model.run(command)]).toEqual([about, true]);
          expect(model.deadEnds()).toEqual([]);
        }
        expect(model.text()).toBe(build(to).text());
        const names = new Set(model.ifbs.keys());
        expect(nameAsThere(shapePolicy(second, qdiscs), names)).toEqual(to);
      }),
      { numRuns: 300 },
    );
  });
});

describe('an ifb', () => {
  it('keeps its name where no packet is lost by the change', () => {
    const queue = (leaf: Leaf): QueuePolicy[] => [{ name: 'q', share: 0.5, ceiling: 1, leaf }];
    const tree = (rate: number, leaf: Leaf, overhead?: number) =>
      computeTree({
        policy: { queues: queue(leaf), links: [] },
        rate,
        leaves: qdiscs,
        direction: 'download',
        overhead: overhead === undefined ? undefined : { bytes: overhead, mpu: 64, linkLayer: 'ethernet' },
      });
    const change = (a: ReturnType<typeof tree>, b: ReturnType<typeof tree>) => changeTree('x', 0x7fe0, a, b)!;
    expect(change(tree(1e6, 'bfifo'), tree(2e6, 'bfifo')).loses).toBe(false);
    expect(change(tree(1e6, 'bfifo'), tree(1e6, 'bfifo', 18)).loses).toBe(false);
    expect(change(tree(1e6, 'bfifo'), tree(1e6, 'tbf')).loses).toBe(true);
    expect(change(tree(1e6, 'bfifo', -4), tree(1e6, 'bfifo')).before[0]).toEqual(
      'qdisc change dev x root handle 7fe0:'.split(' '),
    );
  });

  it('has two names', () => {
    expect(besideName('hg-wan')).toBe('hg_wan');
    expect(besideName('hg_wan-local')).toBe('hg-wan-local');
  });
});
