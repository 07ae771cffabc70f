import fc from 'fast-check';
import { describe, expect, it } from 'vitest';
import type { Leaf, Policy, QueuePolicy } from '../../src/language/index.ts';
import {
  burstOf,
  computeTree,
  formatAlias,
  formatHandle,
  ifbName,
  linkOperations,
  parseAlias,
  shapePolicy,
} from '../../src/shape/index.ts';

const queues: QueuePolicy[] = [
  { name: 'local', share: 0.7, ceiling: 1 },
  { name: 'new', share: 0.1, ceiling: 0.5 },
  { name: 'remote', share: 0.05, ceiling: 1, leaf: 'sfq' },
];
const policy: Policy = {
  file: 'test.gate',
  links: [{ name: 'wan', device: 'eth0', download: 100e6, upload: 20e6 }],
  queues,
  rules: [],
  defaults: { local: 'local', new: 'new', remote: 'remote' },
};
const bfifo = new Set<Leaf>(['bfifo']);
const site = { ingressObject: '/o/ingress.bpf.o', egressObject: '/o/egress.bpf.o', ingressHook: false };

describe('tree', () => {
  it('gives each queue its part of the rate, its place as class number and priority, and a burst of a millisecond', () => {
    expect(computeTree(queues, 100e6, bfifo).classes).toMatchObject([
      { queue: 'local', minor: 1, prio: 0, rate: 70e6, ceil: 100e6, burst: 8750 + 1600, cburst: 12_500 + 1600 },
      { queue: 'new', minor: 2, prio: 1, rate: 10e6, ceil: 50e6 },
      { queue: 'remote', minor: 3, prio: 2, rate: 5e6, ceil: 100e6 },
    ]);
  });

  it('takes the leaf that is wanted where the kernel has it, else the best there is', () => {
    const kinds = (leaves: Leaf[]) => computeTree(queues, 100e6, new Set(leaves)).classes.map((c) => c.leaf.kind);
    expect(kinds(['bfifo'])).toEqual(['bfifo', 'bfifo', 'bfifo']);
    expect(kinds(['bfifo', 'sfq'])).toEqual(['sfq', 'sfq', 'sfq']);
    expect(kinds(['bfifo', 'sfq', 'fq_codel'])).toEqual(['fq_codel', 'fq_codel', 'sfq']);
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
          const tree = computeTree(
            list.map((q, i) => ({ name: `q${i}`, ...q })),
            rate,
            bfifo,
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
  const operations = linkOperations(shapePolicy(policy, bfifo)[0]!, site);

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
    const text = JSON.stringify(linkOperations(shapePolicy(policy, bfifo)[0]!, { ...site, ingressHook: true }));
    expect(text).not.toContain('"clsact"');
    expect(text).toContain('clsact=found');
  });

  it('are the commands that an admin would write', () => {
    expect(
      operations.flatMap((o) => [o.command.argv.join(' '), ...(o.command.input?.trim().split('\n') ?? [])]),
    ).toMatchSnapshot();
  });

  it('say which link lacks what', () => {
    const without = (link: object) => () => shapePolicy({ ...policy, links: [{ name: 'wan', ...link }] }, bfifo);
    expect(without({ download: 1e6 })).toThrow('link wan has no device');
    expect(without({ device: 'eth0' })).toThrow('link wan has no rate');
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
    for (const clsact of [true, false]) {
      const own = { link: 'wan', device: 'eth0.7', clsact };
      expect(parseAlias(formatAlias(own))).toEqual(own);
    }
    expect(parseAlias('headgate of the canal')).toBeUndefined();
    expect(parseAlias(undefined)).toBeUndefined();
  });

  it('write handles as tc does', () => {
    expect(formatHandle(0x7fe0)).toBe('7fe0:');
    expect(formatHandle(0x7fe0, 0x100)).toBe('7fe0:100');
  });
});
