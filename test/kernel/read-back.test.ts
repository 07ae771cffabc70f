// What the kernel was asked for and what it holds are not always the same. Shown on the machine's own kernel (6.18).

import { afterEach, beforeEach, expect, test } from 'vitest';
import { runOperations } from '../../src/apply/index.ts';
import { listFilters } from '../../src/kernel/index.ts';
import { Namespace } from '../../src/lab/index.ts';
import {
  batch,
  DOWNLOAD_MAJOR,
  filterArguments,
  LINK_MINOR,
  type Operation,
  removeUpload,
  type TcFilter,
  type Tree,
  treeCommands,
  type U32Key,
} from '../../src/shape/index.ts';

let ns: Namespace;
beforeEach(async () => {
  ns = await Namespace.add('box');
  await ns.run('tc', 'qdisc', 'add', 'dev', 'lo', 'clsact');
});
afterEach(() => ns.del());

const place = { device: 'lo', parent: 'ingress' };
const protocol = (number: number): U32Key => ({ at: 8, mask: 0x00ff0000, value: number << 16 });
const filter = (...keys: U32Key[]): TcFilter => ({
  chain: 0,
  pref: 7,
  protocol: 'ip',
  match: { kind: 'u32', keys },
  actions: [{ kind: 'redirect', device: 'lo' }],
});
const adding = (verb: 'add' | 'replace', asked: TcFilter, handle: readonly string[] = []): Operation => ({
  about: 'filter',
  command: batch('tc', [['filter', verb, ...filterArguments(place, asked).toSpliced(7, 0, ...handle)]]),
  undo: batch('tc', [['filter', 'del', 'dev', 'lo', 'ingress', 'pref', '7']]),
  filters: { ...place, filters: [asked] },
});

test('a filter that is there as it was asked for is taken', async () => {
  const keys = [protocol(17), { at: 20, mask: 0xffff, value: 53 }];
  await runOperations([adding('add', filter(...keys))], { netns: ns.name });
  expect(await listFilters('lo', 'ingress', { netns: ns.name })).toMatchObject([{ kind: 'u32', pref: 7 }]);
});

test('one that the kernel has changed in silence is refused, and undone', async () => {
  const where = { netns: ns.name };
  await runOperations([adding('add', filter(protocol(1)))], where);
  // u32 keeps the keys of the filter that is replaced.
  const replacing = runOperations([adding('replace', filter(protocol(17)), ['handle', '800::800'])], where);
  await expect(replacing).rejects.toMatchObject({
    code: 'HG_FILTER_CHANGED',
    fields: {
      device: 'lo',
      asked: expect.stringContaining('match u32 0x00110000 0x00ff0000 at 8'),
      held: expect.stringContaining('match u32 0x00010000 0x00ff0000 at 8'),
    },
  });
  expect(await listFilters('lo', 'ingress', where)).toEqual([]);
});

const leaf = { kind: 'bfifo', limit: 140_000 } as const;
const queue = { parent: LINK_MINOR, rate: 4_000_000, ceil: 10_000_000, burst: 9000, cburst: 9000, quantum: 5000 };
const TREE: Tree = {
  kind: 'htb',
  rate: 10_000_000,
  classes: [
    { ...queue, queue: 'first', minor: 1, prio: 0, leaf },
    { ...queue, queue: 'second', minor: 2, prio: 1, leaf },
  ],
};
const [first, second] = TREE.classes as [Tree['classes'][number], Tree['classes'][number]];

/** What is asked for is {@link TREE}; what the kernel gets is another one. */
const building = (made: Tree): Operation => ({
  about: 'tree',
  command: batch('tc', treeCommands('lo', DOWNLOAD_MAJOR, made)),
  undo: removeUpload('lo', DOWNLOAD_MAJOR),
  tree: { device: 'lo', major: DOWNLOAD_MAJOR, tree: TREE },
});

test('a tree that is there as it was asked for is taken', async () => {
  await runOperations([building(TREE)], { netns: ns.name });
  expect(await ns.run('tc', 'class', 'show', 'dev', 'lo')).toContain('class htb 7fe0:2');
});

test.each([
  ['without one of its classes', { ...TREE, classes: [first] }, 'class htb 7fe0:2'],
  ['without a leaf', { ...TREE, classes: [first, { ...second, leaf: undefined }] }, 'qdisc bfifo'],
  [
    'with a leaf of another kind',
    { ...TREE, classes: [first, { ...second, leaf: { ...leaf, kind: 'tbf', rate: 1_000_000, burst: 9000 } }] },
    'qdisc bfifo',
  ],
  ['with another rate of a class', { ...TREE, classes: [first, { ...second, rate: 3_000_000 }] }, 'class htb 7fe0:2'],
  [
    'with another ceiling of a class',
    { ...TREE, classes: [first, { ...second, ceil: 9_000_000 }] },
    'class htb 7fe0:2',
  ],
  ['with another rate of the link', { ...TREE, rate: 9_000_000 }, 'class htb 7fe0:100'],
  ['with a class elsewhere', { ...TREE, classes: [first, { ...second, parent: 1 }] }, 'class htb 7fe0:2'],
] satisfies [string, Tree, string][])('one %s is refused, and undone', async (_, made, missing) => {
  const where = { netns: ns.name };
  await expect(runOperations([building(made)], where)).rejects.toMatchObject({
    code: 'HG_TREE_CHANGED',
    fields: { device: 'lo', asked: expect.stringContaining(missing) },
  });
  expect(await ns.run('tc', 'class', 'show', 'dev', 'lo')).toBe('');
});
