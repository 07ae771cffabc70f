import { describe, expect, it } from 'vitest';
import { isOurPrinted, readFilters } from '../../src/kernel/index.ts';
import {
  bpfDatapath,
  type ClassPlan,
  ctDatapath,
  DATAPATHS,
  type Datapath,
  describeFilter,
  ensureCreates,
  filterArguments,
  isOurFilter,
  markDatapath,
  type Operation,
} from '../../src/shape/index.ts';

const plan: ClassPlan = {
  field: { mask: 0x7f000000, shift: 24 },
  count: 3,
  byOrigin: { local: 1, remote: 3, new: 2 },
  creates: new Set(['dmz']),
};
const tree = { kind: 'htb', rate: 1e6, classes: [] } as const;
const ifbs = [{ name: 'hg-wan', tree }];
const commandsOf = ({ command }: Operation): string[] => command.input?.trim().split('\n') ?? [command.argv.join(' ')];

const make: Record<string, (generation: number) => Datapath> = {
  ct: (generation) => ctDatapath(plan, generation),
  mark: (generation) => markDatapath(plan, 'ctinfo', generation),
};

describe.each(Object.keys(make))('datapath %s', (name) => {
  const datapath = make[name]!(0);
  const redirect = datapath.redirect('wan', ifbs);

  it('is the commands that an admin would write, and the one that lets packets in comes last', () => {
    expect(commandsOf(redirect)).toMatchSnapshot();
    expect(commandsOf(redirect).at(-1)).toBe(
      'filter add dev wan ingress protocol all pref 32736 u32 match u32 0x00000000 0x00000000 at 0 action goto chain 32736',
    );
  });

  it('stops letting packets in before it removes what is behind', () => {
    const lines = datapath.unredirect('wan', { device: 'wan', ifbs }).input!.trim().split('\n');
    expect(lines[0]).toBe('filter del dev wan ingress pref 32736');
    expect(lines.slice(1)).toEqual([0, 1, 2, 3, 4].map((i) => `filter del dev wan ingress chain ${0x7fe0 + i}`));
    expect(redirect.undo).toEqual(datapath.unredirect('wan', { device: 'wan', ifbs }));
  });

  it('shares no number with the policy before or after it', () => {
    const numbers = (generation: number) =>
      make[name]!(generation)
        .redirect('wan', ifbs)
        .filters!.filters.flatMap(({ chain, pref }) => [...(chain ? [`chain ${chain}`] : []), `pref ${pref}`]);
    const both = new Set(numbers(1));
    expect(numbers(0).filter((number) => both.has(number))).toEqual([]);
    expect(numbers(2)).toEqual(numbers(0));
    for (const { chain, pref, match, actions } of make[name]!(1).redirect('wan', ifbs).filters!.filters) {
      const goesTo = actions.flatMap((action) => (action.kind === 'goto' ? [action.chain] : []))[0];
      expect(isOurFilter({ kind: match.kind, chain, pref, goesTo })).toBe(true);
    }
  });

  it('has u32 filters of one preference in one chain only', () => {
    const chains = new Map<number, Set<number>>();
    for (const { chain, pref } of redirect.filters!.filters)
      chains.set(pref, (chains.get(pref) ?? new Set()).add(chain));
    expect([...chains.values()].every(({ size }) => size === 1)).toBe(true);
  });

  it('catches what leaves past nft', () => {
    const commands = commandsOf(datapath.classifyLeaving('wan', tree)!);
    expect(commands.filter((line) => line.includes('classid 7fe1:2')).length).toBeGreaterThan(0);
    expect(commands.every((line) => line.startsWith('filter add dev wan parent 7fe1: '))).toBe(true);
  });
});

describe('conntrack create', () => {
  const of = (device: string) => commandsOf(ctDatapath(plan, 0).redirect(device, ifbs));

  it('makes an entry on the devices that it is said of, and what is new there is remote', () => {
    const onlyThere = of('dmz').filter((line) => !of('wan').includes(line.replace('dev dmz', 'dev wan')));
    expect(onlyThere.filter((line) => /action ct|ct_state/.test(line))).toEqual([
      expect.stringMatching(/action ct commit pipe action goto chain 32740$/),
      expect.stringMatching(/flower skip_hw ct_state \+trk\+new-rpl action skbedit priority 7fe0:3 /),
    ]);
    expect(of('wan').join()).not.toContain('commit');
  });

  it('is read back', () => {
    const commit = CT.replace('"kind":"ct","zone":0', '"kind":"ct","action":"commit","zone":0');
    expect(readFilters(commit)[2]!.filter!.actions[0]).toEqual({ kind: 'ct', commit: true });
    const other = CT.replace('"kind":"ct","zone":0', '"kind":"ct","action":"commit force","zone":0');
    expect(readFilters(other)[2]!.filter).toBeUndefined();
  });

  it('is refused on other datapaths', () => {
    for (const name of DATAPATHS) {
      expect(() => ensureCreates({ link: 'wan' }, name)).not.toThrow();
      const create = () => ensureCreates({ link: 'wan', creates: true }, name);
      if (name === 'ct') expect(create).not.toThrow();
      else expect(create).toThrow(expect.objectContaining({ code: 'HG_CREATE_DATAPATH' }));
    }
  });
});

describe('filters that tc tells of', () => {
  it('are those of datapath ct', () =>
    expect(described(CT)).toEqual([
      'chain 32740 pref 32748 protocol all flower skip_hw ct_state +trk ct_mark 0x04000000/0x7f000000: skbedit priority 7fe0:4, mirred egress redirect dev gate',
      'chain 32739 pref 32746 protocol all flower skip_hw ip_flags frag: skbedit priority 7fe0:3, mirred egress redirect dev gate',
      'chain 32739 pref 32747 protocol all u32 match u32 0x00000000 0x00000000 at 0: ct, goto chain 32740',
      'chain 32736 pref 32739 protocol 802.1Q u32 match u32 0x00008100 0x0000ffff at -4 match u32 0x00000800 0x0000ffff at 0: pass',
    ]));

  it('are those of datapath mark, though iproute2 prints fw as no JSON', () =>
    expect(described(MARK)).toEqual([
      'chain 32740 pref 1 protocol all handle 0x04000000/0x7f000000 fw: skbedit priority 7fe0:4 mark 0, mirred egress redirect dev gate',
      'chain 32739 pref 2 protocol all u32 match u32 0x00000000 0x00000000 at 0: ctinfo cpmark 0x7f000000, goto chain 32740',
    ]));

  it('are not ours where they do what ours do not', () => {
    const police =
      '[{"protocol":"ip","pref":7,"kind":"u32","chain":0,"options":{"fh":"800::800","match":{"value":"0","mask":"0","offmask":"","off":0},"actions":[{"order":1,"kind":"police"}]}}]';
    expect(readFilters(police)).toMatchObject([{ kind: 'u32', pref: 7, handle: 0x80000800, filter: undefined }]);
    const classid = '[{"protocol":"ip","pref":7,"kind":"fw","options":{handle 0x1 classid 1:1 }}]';
    expect(readFilters(classid)).toMatchObject([{ kind: 'fw', pref: 7, filter: undefined }]);
    expect(readFilters('')).toEqual([]);
  });

  const described = (text: string) => readFilters(text).map(({ filter }) => filter && describeFilter(filter));
});

it('datapath bpf replaces itself in one command', () => {
  const bpf = bpfDatapath({ ingress: '/o/i.o', egress: '/o/e.o', sort: '/o/sort.o', picks: [] }, plan.field, 0);
  const { command, undo, filters } = bpf.redirect('wan', ifbs);
  expect(command.argv.join(' ')).toBe(
    `tc filter replace ${filterArguments({ device: 'wan', parent: 'ingress' }, filters!.filters[0]!).join(' ')}`,
  );
  expect(undo!.input).toBe('filter del dev wan ingress pref 32736 handle 0x1 bpf\n');
});

describe('a filter where ours let packets in', () => {
  const bpf = (bpfName: string, pref = 0x7fe0) => isOurFilter({ kind: 'bpf', chain: 0, pref, bpfName });
  const u32 = (goesTo?: number, pref = 0x7fe0) => isOurFilter({ kind: 'u32', chain: 0, pref, goesTo });

  it.each([
    'ingress.bpf.o:[ingress]',
    'ingress-3.bpf.o:[ingress]',
    'steer.bpf.o:[ingress]',
    'pick-00a1b2c3d4e5.bpf.o:[pick]',
  ])('is ours with the program %s', (name) => {
    expect(bpf(name)).toBe(true);
    expect(bpf(name, 5)).toBe(false);
  });

  it.each([
    '',
    'other.o:[ingress]',
    'ingress.o:[ingress]',
    'my-ingress.bpf.o:[ingress]',
    'ingress-3.bpf.o:[classifier]',
  ])('is not ours with the program "%s"', (name) => expect(bpf(name)).toBe(false));

  it('is ours where u32 sends packets to a chain of ours, and not where it does otherwise, or is of another kind', () => {
    expect([u32(0x7fe0), u32(0x7fe8, 0x7fe1), u32(), u32(7), u32(0x7fe0, 5)]).toEqual([
      true,
      true,
      false,
      false,
      false,
    ]);
    expect(isOurFilter({ kind: 'flower', chain: 0, pref: 0x7fe0, goesTo: 0x7fe0 })).toBe(false);
  });

  it('is known as tc prints it, too', () => {
    const head = 'filter protocol all pref 32736';
    const entry = `${head} u32 chain 0 fh 800::800 order 2048 key ht 800 bkt 0 terminal flowid not_in_hw\n  match 00000000/00000000 at 0\n\taction order 1: gact action goto chain 32736\n`;
    expect(isOurPrinted(entry)).toBe(true);
    expect(isOurPrinted(entry.replace('goto chain 32736', 'drop'))).toBe(false);
    const program = `${head} bpf chain 0 handle 0x1 ingress-1a.bpf.o:[ingress] not_in_hw id 7 name steer_ingress tag 30 jited\n`;
    expect(isOurPrinted(program)).toBe(true);
    expect(isOurPrinted(program.replace('ingress-1a', 'other'))).toBe(false);
  });
});

// As iproute2 6.1 printed them on Linux 6.1, shortened to what is looked at.
const CT = `[{"protocol":"all","pref":32748,"kind":"flower","chain":32740},{"protocol":"all","pref":32748,"kind":"flower","chain":32740,"options":{"handle":1,"keys":{"ct_state":"+trk","ct_mark":67108864,"ct_mark_mask":"7f000000"},"skip_hw":true,"not_in_hw":true,"actions":[{"order":1,"kind":"skbedit","priority":"7fe0:4","control_action":{"type":"pipe"},"index":1},{"order":2,"kind":"mirred","mirred_action":"redirect","direction":"egress","to_dev":"gate","control_action":{"type":"stolen"},"index":1}]}},{"protocol":"all","pref":32746,"kind":"flower","chain":32739,"options":{"handle":1,"keys":{"ip_flags":{"frag":true}},"skip_hw":true,"not_in_hw":true,"actions":[{"order":1,"kind":"skbedit","priority":"7fe0:3","control_action":{"type":"pipe"},"index":7},{"order":2,"kind":"mirred","mirred_action":"redirect","direction":"egress","to_dev":"gate","control_action":{"type":"stolen"},"index":7}]}},{"protocol":"all","pref":32747,"kind":"u32","chain":32739,"options":{"fh":"800:","ht_divisor":1}},{"protocol":"all","pref":32747,"kind":"u32","chain":32739,"options":{"fh":"802::800","order":2048,"key_ht":"802","bkt":"0","not_in_hw":true,"match":{"value":"0","mask":"0","offmask":"","off":0},"actions":[{"order":1,"kind":"ct","zone":0,"control_action":{"type":"pipe"},"index":1},{"order":2,"kind":"gact","control_action":{"type":"goto","chain":32740},"prob":{"random_type":"none","control_action":{"type":"pass"},"val":0},"index":2}]}},{"protocol":"802.1Q","pref":32739,"kind":"u32","chain":32736,"options":{"fh":"802::801","order":2049,"key_ht":"802","bkt":"0","not_in_hw":true,"match":{"value":"8100","mask":"ffff","offmask":"","off":-4},"match":{"value":"800","mask":"ffff","offmask":"","off":0},"actions":[{"order":1,"kind":"gact","control_action":{"type":"pass"},"prob":{"random_type":"none","control_action":{"type":"pass"},"val":0},"index":5}]}}]`;
const MARK = `[{"protocol":"all","pref":1,"kind":"fw","chain":32740},{"protocol":"all","pref":1,"kind":"fw","chain":32740,"options":{handle 0x4000000/0x7f000000 
"actions":[{"order":1,"kind":"skbedit","priority":"7fe0:4","mark":0,"control_action":{"type":"pipe"},"index":8},{"order":2,"kind":"mirred","mirred_action":"redirect","direction":"egress","to_dev":"gate","control_action":{"type":"stolen"},"index":8}]}},{"protocol":"all","pref":2,"kind":"u32","chain":32739,"options":{"fh":"804::800","order":2048,"key_ht":"804","bkt":"0","not_in_hw":true,"match":{"value":"0","mask":"0","offmask":"","off":0},"actions":[{"order":1,"kind":"ctinfo","zone":0,"control_action":{"type":"pipe"},"index":1,"cpmark":"0x7f000000"},{"order":2,"kind":"gact","control_action":{"type":"goto","chain":32740},"prob":{"random_type":"none","control_action":{"type":"pass"},"val":0},"index":4}]}}]`;
