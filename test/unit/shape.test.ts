import fc from 'fast-check';
import { describe, expect, it } from 'vitest';
import type { Leaf, LinkPolicy, Policy, QueuePolicy } from '../../src/language/index.ts';
import { DEFAULT_MARK_FIELD } from '../../src/model/index.ts';
import {
  bpfDatapath,
  burstOf,
  classOf,
  computeTree,
  formatAlias,
  formatHandle,
  ifbName,
  linkOperations,
  nameBeside,
  parseAlias,
  shapePolicy,
  treeCommands,
} from '../../src/shape/index.ts';

const queues: QueuePolicy[] = [
  { name: 'local', share: 0.7, ceiling: 1 },
  { name: 'new', share: 0.1, ceiling: 0.5 },
  { name: 'remote', share: 0.05, ceiling: 1, leaf: 'sfq' },
];
const policy: Policy = {
  file: 'test.gate',
  links: [{ name: 'wan', device: 'eth0', download: 100e6, upload: 20e6, tree: 'htb' }],
  queues,
  sets: [],
  rules: [],
  defaults: { local: 'local', new: 'new', remote: 'remote' },
  expects: [],
  needs: {
    events: [],
    counters: false,
    timers: false,
    dns: false,
    sockets: false,
    p2p: false,
    packets: false,
    clock: false,
    company: false,
  },
};
const bfifo = new Set<Leaf>(['bfifo']);
const site = { ingressHook: false };
const bpf = bpfDatapath(
  { ingress: '/o/ingress.bpf.o', egress: '/o/egress.bpf.o', sort: '/o/sort.o', picks: [] },
  DEFAULT_MARK_FIELD,
  0,
);

/** A download tree. */
const treeOf = (list: readonly QueuePolicy[], rate: number, leaves: readonly Leaf[] = ['bfifo'], more: object = {}) =>
  computeTree({ policy: { queues: list, links: [] }, rate, leaves: new Set(leaves), direction: 'download', ...more });

describe('tree', () => {
  it('gives each queue its part of the rate, its place as class number and priority, and a burst of a millisecond', () => {
    expect(treeOf(queues, 100e6).classes).toMatchObject([
      { queue: 'local', minor: 1, prio: 0, rate: 70e6, ceil: 100e6, burst: 8750 + 1600, cburst: 12_500 + 1600 },
      { queue: 'new', minor: 2, prio: 1, rate: 10e6, ceil: 50e6 },
      { queue: 'remote', minor: 3, prio: 2, rate: 5e6, ceil: 100e6 },
    ]);
  });

  it('nests: parts of the parent, numbers of the queues that flows can go to, others above them', () => {
    const nested: QueuePolicy[] = [
      { name: 'voice', share: 0.1, ceiling: 1 },
      { name: 'home', share: 0.6, ceiling: 0.8 },
      { name: 'games', parent: 'home', share: 0.5, ceiling: 1 },
      { name: 'guests', parent: 'home', share: 0.5, ceiling: 0.5 },
      { name: 'one', parent: 'guests', share: 0.1, ceiling: 1 },
      { name: 'other', parent: 'guests', share: 0.2, ceiling: 1 },
      { name: 'seed', share: 0.05, ceiling: 1 },
    ];
    expect(treeOf(nested, 100e6).classes).toMatchObject([
      { queue: 'voice', minor: 1, parent: 0x100, prio: 0, rate: 10e6, leaf: { kind: 'bfifo' } },
      { queue: 'home', minor: 0x102, parent: 0x100, rate: 60e6, ceil: 80e6, leaf: undefined },
      { queue: 'games', minor: 2, parent: 0x102, prio: 1, rate: 30e6, ceil: 80e6 },
      { queue: 'guests', minor: 0x104, parent: 0x102, rate: 30e6, ceil: 40e6, leaf: undefined },
      { queue: 'one', minor: 3, parent: 0x104, prio: 2, rate: 3e6, ceil: 40e6 },
      { queue: 'other', minor: 4, parent: 0x104, prio: 3, rate: 6e6, ceil: 40e6 },
      { queue: 'seed', minor: 5, parent: 0x100, prio: 4, rate: 5e6, ceil: 100e6 },
    ]);
    expect(nested.map(({ name }) => classOf({ queues: nested, links: [] }, name))).toEqual([1, 0, 2, 0, 3, 4, 5]);
    const prio = treeOf(nested, 100e6, ['bfifo'], { kind: 'prio' }).classes;
    expect(prio.map(({ queue, minor }) => [queue, minor])).toEqual([
      ['voice', 1],
      ['games', 2],
      ['one', 3],
      ['other', 4],
      ['seed', 5],
    ]);
  });

  it('takes the leaf that is wanted where the kernel has it, else the best there is', () => {
    const kinds = (leaves: Leaf[]) => treeOf(queues, 100e6, leaves).classes.map((c) => c.leaf?.kind);
    expect(kinds(['bfifo'])).toEqual(['bfifo', 'bfifo', 'bfifo']);
    expect(kinds(['bfifo', 'sfq'])).toEqual(['sfq', 'sfq', 'sfq']);
    expect(kinds(['bfifo', 'sfq', 'fq_codel'])).toEqual(['fq_codel', 'fq_codel', 'sfq']);
  });

  it('a leaf tbf is a shaper at the ceiling, also in a prio, and counts what the line adds', () => {
    const list: QueuePolicy[] = [
      { name: 'slow', share: 0.002, ceiling: 0.002, leaf: 'tbf' },
      { name: 'fast', share: 0.5, ceiling: 1, leaf: 'tbf' },
    ];
    const overhead = { bytes: 18, mpu: 64, linkLayer: 'ethernet' };
    for (const kind of ['htb', 'prio']) {
      const tree = treeOf(list, 10e6, ['tbf'], { kind, overhead });
      // As in ifb.txt: rate 20kbit buffer 1600 limit 3000.
      expect(tree.classes.map(({ leaf }) => leaf)).toEqual([
        { kind: 'tbf', rate: 20_000, burst: 1603, limit: 3206, overhead },
        { kind: 'tbf', rate: 10e6, burst: 62_500, limit: 125_000, overhead },
      ]);
      const commands = treeCommands('ifb0', 0x7fe0, tree).map((command) => command.join(' '));
      expect(commands.filter((command) => /tbf rate 20000bit/.test(command))).toEqual([
        expect.stringMatching(/ tbf rate 20000bit burst 1603b limit 3206b overhead 18 mpu 64 linklayer ethernet$/),
      ]);
    }
  });

  it('is fair between the hosts on this side, which receive what arrives and send what leaves', () => {
    const list: QueuePolicy[] = [{ name: 'all', share: 1, ceiling: 1, fair: 'host' }];
    const leafFor = (direction: string) => treeOf(list, 1e6, ['bfifo', 'cake'], { direction }).classes[0]!.leaf;
    expect(leafFor('download')).toEqual({ kind: 'cake', fair: 'receivers' });
    expect(leafFor('upload')).toEqual({ kind: 'cake', fair: 'senders' });
  });

  it('counts what the line adds', () => {
    const line = (bytes: number, linkLayer: string, kind = 'htb') =>
      treeCommands('ifb0', 0x7fe0, treeOf(queues, 65e6, ['bfifo'], { kind, overhead: { bytes, mpu: 64, linkLayer } }))
        .map((command) => command.join(' '))
        .filter((command) => /overhead/.test(command));
    expect(line(18, 'ethernet')).toHaveLength(4);
    for (const command of line(18, 'ethernet'))
      expect(command).toMatch(/^class add .* overhead 18 mpu 64 linklayer ethernet$/);
    expect(line(22, 'ptm')[0]).toMatch(/ rate 64000000bit .* linklayer ethernet$/);
    // Only a size table can take bytes away.
    const stab = 'stab overhead -4 mpu 64 linklayer atm';
    expect(line(-4, 'atm')).toEqual([`qdisc add dev ifb0 root handle 7fe0: ${stab} htb default 0`]);
    expect(line(-4, 'atm', 'prio')[0]).toContain(`qdisc add dev ifb0 root handle 7fd0: ${stab} tbf rate 65000000bit`);
    expect(line(18, 'ethernet', 'prio')).toHaveLength(1);
  });

  it('cake: a tin for each queue, the one whose part is nearest to its share, for a policy one and the same', () => {
    const links = [
      { name: 'a', tree: 'htb' as const },
      { name: 'b', tree: 'cake' as const },
    ];
    const cake = computeTree({
      ...{
        kind: 'cake',
        policy: { queues, links },
        rate: 16e6,
        leaves: new Set<Leaf>(['bfifo']),
        direction: 'download',
      },
      overhead: { bytes: 18, mpu: 64, linkLayer: 'ptm' },
    });
    expect(cake.classes).toMatchObject([
      { queue: 'local', minor: 2, rate: 11e6, ceil: 16e6 },
      { queue: 'new', minor: 3, rate: 4e6 },
      { queue: 'remote', minor: 1, rate: 1e6 },
    ]);
    expect(treeCommands('ifb0', 0x7fe0, cake).map((command) => command.join(' '))).toEqual([
      'qdisc add dev ifb0 root handle 7fe0: cake bandwidth 16000000bit diffserv3 raw overhead 18 mpu 64 ptm',
    ]);
    expect(queues.map(({ name }) => classOf({ queues, links }, name))).toEqual([2, 3, 1]);
    const htb = computeTree({ policy: { queues, links }, rate: 16e6, leaves: bfifo, direction: 'download' });
    expect(htb.classes.map(({ minor, prio }) => [minor, prio])).toEqual([
      [2, 0],
      [3, 1],
      [1, 2],
    ]);
  });

  it('cake: fair between hosts behind NAT where any queue is to be', () => {
    const hosts: QueuePolicy[] = [queues[0]!, { ...queues[1]!, fair: 'host' }];
    const command = (direction: 'download' | 'upload', list: QueuePolicy[]) =>
      treeCommands('x', 1, treeOf(list, 1e6, ['cake'], { kind: 'cake', direction }))[0]!.join(' ');
    expect(command('download', hosts)).toMatch(/ diffserv\d dual-dsthost nat$/);
    expect(command('upload', hosts)).toMatch(/ diffserv\d dual-srchost nat$/);
    expect(command('upload', [{ ...queues[0]!, fair: 'flow' }])).toMatch(/ besteffort flows$/);
  });

  it('never guarantees more than the link has, nor more than a ceiling, at any rate', () => {
    const queue = fc.record({
      share: fc.double({ min: 0.001, max: 0.01, noNaN: true }),
      ceiling: fc.double({ min: 0.01, max: 1, noNaN: true }),
    });
    fc.assert(
      fc.property(
        fc.array(queue, { minLength: 1, maxLength: 100 }),
        fc.integer({ min: 100_000_000, max: 40_000_000_000 }),
        (list, rate) => {
          const tree = treeOf(
            list.map((q, i) => ({ name: `q${i}`, ...q })),
            rate,
          );
          expect(tree.classes.reduce((sum, c) => sum + c.rate, 0)).toBeLessThanOrEqual(rate * 1.01);
          for (const c of tree.classes) {
            expect(c.rate).toBeLessThanOrEqual(c.ceil);
            expect(c.ceil).toBeLessThanOrEqual(rate);
            expect(c.prio).toBeLessThan(8);
            expect(c.burst).toBe(burstOf(c.rate));
            expect(c.quantum).toBeGreaterThanOrEqual(1514);
          }
        },
      ),
    );
  });
});

describe('link operations', () => {
  const operations = linkOperations(shapePolicy(policy, bfifo)[0]!, site, bpf);

  it('redirect last, after the ifb is up', () => {
    expect(operations.map((o) => o.about)).toEqual([
      'add the tree on eth0',
      'classify what leaves eth0',
      'add ifb hg-eth0',
      'add the tree on hg-eth0',
      'set hg-eth0 up',
      'add clsact to eth0',
      'redirect what arrives on eth0 to hg-eth0',
    ]);
  });

  it('add no clsact where there is a hook, and never remove it then', () => {
    const text = JSON.stringify(linkOperations(shapePolicy(policy, bfifo)[0]!, { ...site, ingressHook: true }, bpf));
    expect(text).not.toContain('clsact\\n');
    expect(text).toContain('clsact=found');
  });

  it('are the commands that an admin would write', () => {
    expect(
      operations.flatMap((o) => [o.command.argv.join(' '), ...(o.command.input?.trim().split('\n') ?? [])]),
    ).toMatchSnapshot();
  });

  const withLinks = (...links: Partial<LinkPolicy>[]): Policy => ({
    ...policy,
    links: links.map((link) => ({ name: 'wan', tree: 'htb', ...link })),
  });

  it('are none for a link without rates', () => {
    const [shape] = shapePolicy(withLinks({ device: 'eth0' }), bfifo);
    expect(linkOperations(shape!, site, bpf)).toEqual([]);
  });

  it('lead several links to one ifb, the one whose it is first', () => {
    const shapes = shapePolicy(
      withLinks({ name: 'b', device: 'ppp1', shareTreeWith: 'a' }, { name: 'a', device: 'ppp0', download: 1e6 }),
      bfifo,
    );
    expect(shapes).toMatchObject([
      { link: 'a', sharedBy: ['ppp1'] },
      { link: 'b', shares: 'ppp0', ifbs: [{ name: 'hg-ppp0' }] },
    ]);
    const ifbs = new Map([['hg-ppp0', { link: 'a', device: 'ppp0', clsact: true, shared: [] }]]);
    expect(
      linkOperations(shapes[1]!, { ...site, ifbs }, bpf).map(({ about, command, undo }) => [
        about,
        command.argv.at(-1),
        undo,
      ]),
    ).toMatchObject([
      [
        'share hg-ppp0 with ppp1',
        'headgate link=a device=ppp0 clsact=ours shared=ppp1:ours',
        { argv: expect.arrayContaining(['headgate link=a device=ppp0 clsact=ours']) },
      ],
      ['set hg-ppp0 up', 'up', undefined],
      ['add clsact to ppp1', '-', { argv: expect.anything() }],
      ['redirect what arrives on ppp1 to hg-ppp0', 'hg-ppp0', { argv: expect.anything() }],
    ]);
  });

  it('say which link lacks what, and which qdisc the kernel does', () => {
    const shaping =
      (...links: Partial<LinkPolicy>[]) =>
      () =>
        shapePolicy(withLinks(...links), bfifo);
    expect(shaping({ download: 1e6 })).toThrow('link wan has no device');
    expect(shaping({ device: 'a' }, { name: 'b', device: 'b', shareTreeWith: 'wan' })).toThrow(
      'link b has no tree to share: link wan has no download rate',
    );
    expect(shaping({ device: 'eth0', download: 1e6, tree: 'cake' })).toThrow('it has no qdisc cake');
    expect(shaping({ device: 'eth0', upload: 1e6, tree: 'prio' })).toThrow('it has no qdisc prio');
    expect(() => shapePolicy({ ...policy, queues: [{ ...queues[0]!, fair: 'host' }] }, bfifo)).toThrow(
      'this kernel cannot do fairness between hosts',
    );
    const many = Array.from({ length: 30 }, (_, i) => ({
      name: `s${i}`,
      device: `subscriber-${i}`,
      shareTreeWith: 'wan',
    }));
    expect(shaping({ device: 'eth0', download: 1e6 }, ...many)).toThrow('an ifb for 31 devices');
  });

  it('cut a link into an ifb for each origin, with its share, and the numbers that the policy gives', () => {
    const queue = (name: string, share: number, parent?: string) => ({ name, share, ceiling: 0.9, parent });
    const cut = {
      ...withLinks({ device: 'enp3s0', download: 10e6, ifbPer: 'origin' }),
      queues: [queue('new', 0.1), queue('asked', 0.6), queue('voice', 0.2, 'asked'), queue('web', 0.8, 'asked')],
      defaults: { local: 'web', remote: 'new', new: 'new' },
    };
    const shapeOf = (of: Policy) => shapePolicy(of, new Set([...bfifo, 'prio'] as const))[0]!;
    const shape = shapeOf(cut);
    expect(
      shape.ifbs.map(({ name, tree }) => [
        name,
        tree.rate,
        tree.classes.map((c) => [c.queue, c.minor, c.rate, c.ceil]),
      ]),
    ).toEqual([
      [
        expect.stringMatching(/^hg-enp3s0-\w{5}$/),
        6e6,
        [
          ['asked', 0x101, 6e6, 6e6],
          ['voice', 2, 1.2e6, 5.4e6],
          ['web', 3, 4.8e6, 5.4e6],
        ],
      ],
      [expect.stringMatching(/^hg-enp3s0-\w{5}$/), 1e6, [['new', 1, 1e6, 1e6]]],
    ]);
    expect(new Set(shape.ifbs.map(({ name }) => name)).size).toBe(2);
    const [, forNew] = shapeOf({ ...cut, links: [{ ...cut.links[0]!, tree: 'prio' }] }).ifbs;
    expect(treeCommands(forNew!.name, 0x7fe0, forNew!.tree)[1]).toEqual(expect.arrayContaining(['bands', '2']));
    const joined = withLinks({ ...cut.links[0]! }, { name: 'b', device: 'ppp0', shareTreeWith: 'wan' });
    const shapes = shapePolicy({ ...cut, links: joined.links }, bfifo);
    expect(shapes[1]).toMatchObject({ shares: 'enp3s0', ifbs: shape.ifbs.map(({ name }) => ({ name })) });
    const other = shapeOf({ ...cut, defaults: { ...cut.defaults, new: 'web' } });
    expect(nameBeside([shape], [other])[0]!.ifbs.map(({ name }) => name)).toEqual(shape.ifbs.map(({ name }) => name));
  });

  it('give the ifb its transmit queues', () => {
    const [shape] = shapePolicy(withLinks({ device: 'eth0', download: 1e6, numtxqueues: 4 }), bfifo);
    expect(JSON.stringify(linkOperations(shape!, site, bpf))).toContain(
      'link add name hg-eth0 numtxqueues 4 txqueuelen 1000 type ifb',
    );
  });

  it('count a kind of line from the IP packet on, a number from what the kernel counts', () => {
    const overhead = { preset: 'docsis', bytes: 18, mpu: 64, linkLayer: 'ethernet' } as const;
    const said = (link: Partial<LinkPolicy>, header: number) => {
      const shaped = withLinks({ device: 'eth0', upload: 1e6, ...link });
      const [shape] = shapePolicy(shaped, new Set([...bfifo, 'cake'] as const), () => header);
      return / (raw )?overhead \S+ mpu 64/.exec(linkOperations(shape!, site, bpf)[0]!.command.input!)?.[0];
    };
    expect(said({ overhead }, 14)).toBe(' overhead 4 mpu 64');
    expect(said({ overhead }, 0)).toBe(' overhead 18 mpu 64');
    expect(said({ overhead: { ...overhead, preset: undefined } }, 14)).toBe(' overhead 18 mpu 64');
    expect(said({ overhead, tree: 'cake' }, 14)).toBe(' overhead 18 mpu 64');
    expect(said({ overhead: { ...overhead, preset: undefined }, tree: 'cake' }, 14)).toBe(' raw overhead 18 mpu 64');
  });

  it('tell cake by skb->priority what leaves', () => {
    const [shape] = shapePolicy(
      withLinks({ device: 'eth0', upload: 1e6, tree: 'cake' }),
      new Set([...bfifo, 'cake'] as const),
    );
    expect(linkOperations(shape!, site, bpf).at(-1)!.command.argv.slice(-2)).toEqual(['section', 'tin']);
  });
});

describe('names', () => {
  it('make an ifb name of at most 15 characters that is never the device itself', () => {
    const device = fc.stringMatching(/^[a-z0-9.@-]{1,15}$/);
    fc.assert(
      fc.property(device, device, (a, b) => {
        expect(ifbName(a).length).toBeLessThanOrEqual(15);
        expect(ifbName(a)).not.toBe(a);
        if (a !== b) expect(ifbName(a)).not.toBe(ifbName(b));
      }),
    );
  });

  it('read back the alias that they write, and nobody else’s', () => {
    const name = fc.stringMatching(/^[!-.0-9;-~]{1,15}$/);
    const hook = fc.record({ device: name, clsact: fc.boolean() });
    fc.assert(
      fc.property(hook, fc.uniqueArray(hook, { maxLength: 5, selector: (h) => h.device }), (own, shared) => {
        const ownership = { link: 'wan', ...own, shared };
        expect(parseAlias(formatAlias(ownership))).toEqual(ownership);
      }),
    );
    expect(parseAlias('headgate of the canal')).toBeUndefined();
    expect(parseAlias(undefined)).toBeUndefined();
  });

  it('write handles as tc does', () => {
    expect(formatHandle(0x7fe0)).toBe('7fe0:');
    expect(formatHandle(0x7fe0, 0x100)).toBe('7fe0:100');
  });
});
