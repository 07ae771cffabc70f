// The kernel rules of random policies, as nft, in a gateway of its own: first packets of real flows, and the class
// that the kernel has given each by then, held equal to what the generated code and the tree walker decide.
//
//   world 192.0.2.2, 198.51.100.7, 2001:db8::2 ── wan box lan ── 10.0.0.2, 10.0.0.200, fd00::2 inside
//
// The box masquerades both families, and forwards port 6881 to port 6882 of the inside host.

import type { ChildProcess } from 'node:child_process';
import { mkdtemp, rm, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { createInterface } from 'node:readline';
import fc from 'fast-check';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { addVeth, Namespace, packageFile } from '../../src/lab/index.ts';
import { type Condition, createDecide, decideByWalking, type Policy, type Rule } from '../../src/language/index.ts';
import {
  classOfMark,
  DEFAULT_MARK_FIELD,
  type End,
  type FlowFacts,
  maskAddress,
  type Origin,
  PROTOCOLS,
  parseAddress,
  parsePrefix,
} from '../../src/model/index.ts';
import { classOf, compileRules, removeTable, tableOperation } from '../../src/shape/index.ts';
import { makePolicy } from '../unit/language-decide-arbitrary.ts';
import { WORLD as GATEWAY_WORLD, Gateway, WAN } from './gateway.ts';

const WORLD = { 4: ['192.0.2.2', '192.0.2.130', '198.51.100.7'], 6: ['2001:db8::2', '2001:db8::8:2', '2001:db8:5::7'] };
const INSIDE = { 4: ['10.0.0.2', '10.0.0.200'], 6: ['fd00::2', 'fd00::8:2'] };
const BOX = { 4: '192.0.2.1', 6: '2001:db8::1' };
const MAC = '02:00:00:00:00:07';
const FORWARDED = { port: 6881, to: 6882 };
/** Bits of somebody else's, which are to stay. */
const FOREIGN = 0x80000042;

let box: Namespace;
let world: Namespace;
let inside: Namespace;
const senders = new Map<Namespace, Sender>();

beforeAll(async () => {
  [box, world, inside] = [await Namespace.add('box'), await Namespace.add('world'), await Namespace.add('inside')];
  await addVeth(box, 'wan', world, 'eth0');
  await addVeth(box, 'lan', inside, 'eth0');
  await inside.run('ip', 'link', 'set', 'eth0', 'address', MAC);
  await box.run('sysctl', '-qw', 'net.ipv4.ip_forward=1', 'net.ipv6.conf.all.forwarding=1');
  const address = (ns: Namespace, text: string, device: string) =>
    ns.run('ip', 'address', 'add', text, 'dev', device, ...(text.includes(':') ? ['nodad'] : []));
  for (const [text, device] of [
    ['192.0.2.1/24', 'wan'],
    ['2001:db8::1/64', 'wan'],
    ['10.0.0.1/24', 'lan'],
    ['fd00::1/64', 'lan'],
  ] as const)
    await address(box, text, device);
  for (const text of WORLD[4]) await address(world, `${text}/24`, 'eth0');
  for (const text of WORLD[6]) await address(world, `${text}/64`, 'eth0');
  for (const text of INSIDE[4]) await address(inside, `${text}/24`, 'eth0');
  for (const text of INSIDE[6]) await address(inside, `${text}/64`, 'eth0');
  await box.run('ip', 'route', 'add', 'default', 'via', WORLD[4][0]!);
  await box.run('ip', 'route', 'add', 'default', 'via', WORLD[6][0]!);
  await inside.run('ip', 'route', 'add', 'default', 'via', '10.0.0.1');
  await inside.run('ip', 'route', 'add', 'default', 'via', 'fd00::1');
  await box.feed(NAT, 'nft', '-f', '-');
  for (const ns of [box, world, inside]) {
    // A refusal, once conntrack has seen it, ends the entry of a connection that is not answered yet.
    await ns.feed(QUIET, 'nft', '-f', '-');
    senders.set(ns, await Sender.start(ns));
  }
});
afterAll(() => Promise.all([box, world, inside].map((ns) => ns?.del())));

const NAT = `table inet nat {
  chain prerouting {
    type nat hook prerouting priority dstnat; policy accept;
    iifname "wan" meta l4proto { tcp, udp } th dport ${FORWARDED.port} meta nfproto ipv4 dnat ip to ${INSIDE[4][0]}:${FORWARDED.to}
    iifname "wan" meta l4proto { tcp, udp } th dport ${FORWARDED.port} meta nfproto ipv6 dnat ip6 to [${INSIDE[6][0]}]:${FORWARDED.to}
  }
  chain postrouting {
    type nat hook postrouting priority srcnat; policy accept;
    iifname "lan" oifname "wan" masquerade
  }
}
table inet other {
  chain prerouting { type filter hook prerouting priority mangle; policy accept
    ct state new ct mark set ${FOREIGN}
  }
  chain output { type route hook output priority mangle; policy accept
    ct state new ct mark set ${FOREIGN}
  }
}
`;

const QUIET = `table inet quiet {
  chain output { type filter hook output priority raw; policy accept
    tcp flags & rst == rst drop
  }
}
`;

interface Sending {
  readonly protocol: 'udp' | 'tcp';
  readonly from: string;
  readonly fromPort: number;
  readonly to: string;
  readonly toPort: number;
}

/** A program in a namespace that opens flows as it is told. */
class Sender {
  readonly #child: ChildProcess;
  readonly #waiting = new Map<string, () => void>();
  #count = 0;

  private constructor(child: ChildProcess) {
    this.#child = child;
    createInterface(child.stdout!).on('line', (line) => this.#waiting.get(line)?.());
  }

  static async start(ns: Namespace): Promise<Sender> {
    const sender = new Sender(ns.start(process.execPath, packageFile('test/kernel/send.mjs')));
    await new Promise<void>((resolve) => sender.#waiting.set('ready', resolve));
    return sender;
  }

  send(sending: Sending): Promise<void> {
    const id = this.#count++;
    this.#child.stdin!.write(`${JSON.stringify({ id, ...sending })}\n`);
    return new Promise((resolve) => this.#waiting.set(String(id), resolve));
  }
}

/** A flow to open: where it is sent from, what is sent, and what a rule may know of it. */
interface Try {
  readonly ns: Namespace;
  readonly sending: Sending;
  readonly facts: FlowFacts;
}

let port = 20_000;
/** Each flow has a source port of its own: so it is found again. */
const nextPort = (): number => {
  port = port < 59_000 ? port + 7 : 20_000 + (port % 7) + 1;
  return port;
};

const PORTS = [53, 80, 443, 6882, 8080];

const addressOf = (text: string) => parseAddress(text)!;

function tryOf(kind: number, six: boolean, tcp: boolean, a: number, b: number, c: number): Try {
  const family = six ? 6 : 4;
  const protocol = tcp ? 'tcp' : 'udp';
  const pick = (list: readonly string[], n: number) => list[n % list.length]!;
  const there = pick(WORLD[family], a);
  const here = pick(INSIDE[family], b);
  const toPort = PORTS[c % PORTS.length]!;
  const fromPort = nextPort();
  const flow = (origin: Origin, local: End, remote: End, rest: Partial<FlowFacts>): FlowFacts => ({
    origin,
    protocol: PROTOCOLS[protocol],
    local,
    remote,
    dscp: 0,
    zone: 0,
    nat: { source: false, destination: false },
    ...rest,
  });
  const end = (text: string, number: number): End => ({ address: addressOf(text), port: number });
  const sending = (from: string, to: string, toThis = toPort): Sending => ({
    protocol,
    from,
    fromPort,
    to,
    toPort: toThis,
  });
  switch (kind) {
    case 0: // an inside host asks the world, masqueraded
      return {
        ns: inside,
        sending: sending(here, there),
        facts: flow('local', end(here, fromPort), end(there, toPort), {
          device: 'lan',
          mac: MAC,
          nat: { source: true, destination: false },
        }),
      };
    case 1: // the box itself does
      return {
        ns: box,
        sending: sending(BOX[family], there),
        facts: flow('local', end(BOX[family], fromPort), end(there, toPort), {}),
      };
    case 2: // the world asks the box
      return {
        ns: world,
        sending: sending(there, BOX[family]),
        facts: flow('remote', end(BOX[family], toPort), end(there, fromPort), {}),
      };
    default: // the world asks the inside host, by the forwarded port
      return {
        ns: world,
        sending: sending(there, BOX[family], FORWARDED.port),
        facts: flow('remote', end(INSIDE[family][0]!, FORWARDED.to), end(there, fromPort), {
          device: 'lan',
          nat: { source: false, destination: true },
        }),
      };
  }
}

const tries = fc
  .array(fc.tuple(fc.nat(3), fc.boolean(), fc.boolean(), fc.nat(5), fc.nat(5), fc.nat(9)), {
    minLength: 16,
    maxLength: 16,
  })
  .map((list) => () => list.map((one) => tryOf(...one)));

const prefix = fc
  .tuple(fc.constantFrom(...WORLD[4], ...WORLD[6], ...INSIDE[4], ...INSIDE[6], BOX[4], BOX[6]), fc.nat(1000))
  .map(([text, n]) => {
    const address = addressOf(text);
    // Seldom so short that all the world is in it.
    const length = address.length * 8 - (n % (n % 10 === 0 ? address.length * 8 + 1 : 12));
    return { address: maskAddress(address, length), length };
  });
const ports = fc.tuple(fc.constantFrom(0, 53, 80, 443, 6881, 6882, 8080, 20_000, 30_000, 65_535), fc.nat(20_000));
const range = ports.map(([first, width]) => ({
  first,
  last: width % 2 === 0 ? first : Math.min(65_535, first + width),
}));
const end = fc.constantFrom('local' as const, 'remote' as const);

const leaf: fc.Arbitrary<Condition> = fc.oneof(
  fc.constantFrom<Origin>('local', 'remote', 'new').map((origin): Condition => ({ kind: 'origin', origin })),
  fc.constantFrom(1, 6, 17, 58, 132).map((protocol): Condition => ({ kind: 'protocol', protocol })),
  fc.constantFrom<4 | 6>(4, 6).map((family): Condition => ({ kind: 'family', family })),
  {
    weight: 3,
    arbitrary: fc
      .tuple(end, fc.array(prefix, { minLength: 1, maxLength: 12 }))
      .map(([e, prefixes]): Condition => ({ kind: 'address', end: e, prefixes: merge(prefixes) })),
  },
  {
    weight: 3,
    arbitrary: fc
      .tuple(end, fc.array(range, { minLength: 1, maxLength: 4 }))
      .map(([e, ranges]): Condition => ({ kind: 'port', end: e, ranges })),
  },
  fc.constantFrom(0, 1, 46).map((n): Condition => ({ kind: 'dscp', ranges: [{ first: n, last: n + 8 }] })),
  fc.constantFrom(0, 1).map((n): Condition => ({ kind: 'zone', ranges: [{ first: n, last: n + 3 }] })),
  fc
    .constantFrom('source' as const, 'destination' as const, 'any' as const)
    .map((nat): Condition => ({ kind: 'nat', nat })),
  fc
    .array(fc.constantFrom('lan', 'la*', 'wan', 'eth0'), { minLength: 1, maxLength: 2 })
    .map((patterns): Condition => ({ kind: 'device', patterns })),
  fc.constantFrom(MAC, '02:00:00:00:00:08').map((mac): Condition => ({ kind: 'mac', patterns: [mac] })),
);

/** As the checker leaves a set: no prefix within another. */
function merge(prefixes: readonly { address: Uint8Array; length: number }[]) {
  const inOther = (p: (typeof prefixes)[number], i: number) =>
    prefixes.some(
      (q, j) =>
        j !== i &&
        q.address.length === p.address.length &&
        (q.length < p.length || (q.length === p.length && j < i)) &&
        maskAddress(p.address, q.length).every((byte, k) => byte === q.address[k]),
    );
  return prefixes.filter((p, i) => !inOther(p, i));
}

const condition = fc.letrec<{ condition: Condition }>((tie) => ({
  condition: fc.oneof(
    { depthSize: 'small', withCrossShrink: true },
    leaf,
    fc.record({
      kind: fc.constantFrom('and' as const, 'or' as const),
      terms: fc.array(tie('condition'), { minLength: 1, maxLength: 4 }),
    }),
    fc.record({ kind: fc.constant('not' as const), term: tie('condition') }),
  ),
})).condition;

const ruleOf = (when: Condition, i: number, queue = ['alpha', 'beta', 'gamma'][i % 3]!): Rule => ({
  name: `r${i}`,
  when,
  queue,
  effects: [],
  tier: { kind: 'kernel' },
  file: 'test.gate',
  line: i + 1,
});
const policies = fc
  .array(condition, { minLength: 1, maxLength: 8 })
  .map((list) => makePolicy(list.map((c, i) => ruleOf(c, i))));

async function load(policy: Policy): Promise<void> {
  await box.run(...removeTable().argv).catch(() => {});
  const { command } = tableOperation(policy, [{ device: 'wan' }]);
  await box.feed(command.input!, ...command.argv);
}

/** The marks of all entries, by protocol, source port and destination of their first packet. */
async function readMarks(): Promise<Map<string, number>> {
  const marks = new Map<string, number>();
  for (const family of ['ipv4', 'ipv6'])
    for (const line of (await box.run('conntrack', '-L', '-f', family)).split('\n')) {
      const found = /^(\w+) .*?dst=(\S+) (?:sport=(\d+) dport=(\d+)|type=\d+ code=\d+ id=\d+) .*mark=(\d+)/.exec(line);
      if (found) marks.set(`${found[1]} ${found[3] ?? ''} ${addressOf(found[2]!)} ${found[4] ?? ''}`, Number(found[5]));
    }
  return marks;
}

const keyOf = ({ protocol, fromPort, to, toPort }: Sending) => `${protocol} ${fromPort} ${addressOf(to)} ${toPort}`;

/** The class that the entry must have: 0 where the flow's origin sends it there anyway. */
function wanted(policy: Policy, facts: FlowFacts): number {
  const decision = createDecide(policy)(facts);
  expect(decision).toEqual(decideByWalking(policy, facts));
  return !decision.rule || decision.queue === policy.defaults[facts.origin] ? 0 : classOf(policy, decision.queue);
}

async function holds(policy: Policy, list: readonly Try[]): Promise<number> {
  await box.run('conntrack', '-F');
  await load(policy);
  await Promise.all(list.map(({ ns, sending }) => senders.get(ns)!.send(sending)));
  let marked = 0;
  const text = () => tableOperation(policy, [{ device: 'wan' }]).command.input;
  // A datagram that is out may be on its way for a moment.
  let marks = await readMarks();
  for (let i = 0; i < 10 && !list.every(({ sending }) => marks.has(keyOf(sending))); i++) marks = await readMarks();
  for (const { sending, facts } of list) {
    const mark = marks.get(keyOf(sending));
    expect(mark, `no entry for ${JSON.stringify(sending)}`).toBeDefined();
    const class_ = wanted(policy, facts);
    expect(classOfMark(DEFAULT_MARK_FIELD, mark!), `${JSON.stringify(sending)}\n${text()}`).toBe(class_);
    expect((mark! & ~DEFAULT_MARK_FIELD.mask) >>> 0).toBe(FOREIGN);
    if (class_ !== 0) marked++;
  }
  return marked;
}

describe('kernel rules in nft', () => {
  it('give each flow at its first packet the class that the rules decide', async () => {
    let marked = 0;
    let flows = 0;
    await fc.assert(
      fc.asyncProperty(policies, tries, async (policy, make) => {
        const list = make();
        expect(compileRules(policy, DEFAULT_MARK_FIELD).left).toEqual([]);
        marked += await holds(policy, list);
        flows += list.length;
      }),
      { numRuns: 120 },
    );
    expect(flows).toBeGreaterThanOrEqual(120 * 16);
    // A generator whose flows meet no rule would prove nothing, and one that marks them all no less.
    expect(marked).toBeGreaterThan(flows / 10);
    expect(marked).toBeLessThan(flows * 0.9);
  }, 300_000);

  it('hold with sets by name, conditions in chains of their own, and protocols without ports', async () => {
    const and = (...terms: Condition[]): Condition => ({ kind: 'and', terms });
    const address = (e: 'local' | 'remote', text: string): Condition => ({
      kind: 'address',
      end: e,
      prefixes: [parsePrefix(text)!],
    });
    const portIs = (e: 'local' | 'remote', n: number): Condition => ({
      kind: 'port',
      end: e,
      ranges: [{ first: n, last: n }],
    });
    const eight = (make: (i: number) => Condition): Condition => ({
      kind: 'or',
      terms: Array.from({ length: 8 }, (_, i) => make(i)),
    });
    const many = Array.from({ length: 40 }, (_, i) => parsePrefix(`198.51.${i * 5}.0/24`)!);
    const long = and(
      eight((i) =>
        and(
          portIs('remote', i === 5 ? 443 : 1000 + 2 * i),
          address('local', i === 5 ? '10.0.0.0/8' : `172.16.${i}.0/24`),
        ),
      ),
      eight((i) =>
        and(
          { kind: 'dscp', ranges: [{ first: 2 * i, last: 2 * i }] },
          address('remote', i === 0 ? '192.0.2.128/25' : `172.17.${i}.0/24`),
        ),
      ),
      eight((i) =>
        and(
          { kind: 'zone', ranges: [{ first: 3 * i, last: 3 * i }] },
          { kind: 'port', end: 'local', ranges: [{ first: 2000 + i, last: 65_535 }] },
        ),
      ),
    );
    const policy = makePolicy([
      ruleOf(long, 0, 'beta'),
      ruleOf({ kind: 'address', end: 'remote', prefixes: many }, 1, 'gamma'),
      ruleOf({ kind: 'not', term: { kind: 'port', end: 'remote', ranges: [{ first: 1, last: 65_535 }] } }, 2, 'beta'),
    ]);
    const text = tableOperation(policy, [{ device: 'wan' }]).command.input!;
    expect(text).toContain('jump local-ipv4-1');
    expect(text).toContain('@addresses-1');
    const make = (kind: number, there: number, toPort: number) =>
      tryOf(kind, false, false, there, 0, PORTS.indexOf(toPort));
    // In the long one; not in it by the port; not by the address, but in the set.
    const list = [make(0, 1, 443), make(0, 1, 80), make(0, 2, 443)];
    expect(list.map(({ facts }) => wanted(policy, facts))).toEqual([2, 0, 3]);
    await holds(policy, list);
    await inside.run('ping', '-c1', '-W2', WORLD[4][0]!);
    const marks = [...(await readMarks())].filter(([key]) => key.startsWith('icmp ')).map(([, mark]) => mark);
    expect(marks).toEqual([(FOREIGN | (2 << 24)) >>> 0]);
  });

  it('are asked at the first packet alone, and leave a class that stands there already', async () => {
    const [asked, again] = [tryOf(0, false, false, 0, 0, 0), tryOf(0, false, false, 0, 0, 0)];
    await box.run('conntrack', '-F');
    await load(makePolicy([]));
    await senders.get(inside)!.send(asked.sending);
    await load(makePolicy([ruleOf({ kind: 'and', terms: [] }, 0, 'gamma')]));
    await senders.get(inside)!.send(asked.sending);
    await senders.get(inside)!.send(again.sending);
    await box.feed(
      'table inet earlier {\n chain c {\n type filter hook postrouting priority 0\n udp dport 80 ct mark set 0x02000000\n }\n}\n',
      'nft',
      '-f',
      '-',
    );
    const taken = tryOf(0, false, false, 0, 0, PORTS.indexOf(80));
    await senders.get(inside)!.send(taken.sending);
    await box.run('nft', 'delete', 'table', 'inet', 'earlier');
    const marks = await readMarks();
    const classes = [asked, again, taken].map(({ sending }) =>
      classOfMark(DEFAULT_MARK_FIELD, marks.get(keyOf(sending))!),
    );
    expect(classes).toEqual([0, 3, 2]);
  });

  it('load by the thousand', async () => {
    const rules = Array.from({ length: 5000 }, (_, i) =>
      ruleOf(
        {
          kind: 'and',
          terms: [
            { kind: 'protocol', protocol: i % 2 ? 6 : 17 },
            { kind: 'port', end: 'remote', ranges: [{ first: i + 100, last: i + 100 }] },
            { kind: 'origin', origin: 'local' },
          ],
        },
        i,
        'gamma',
      ),
    );
    const policy = makePolicy(rules);
    await holds(policy, [
      tryOf(0, false, false, 0, 0, 2),
      tryOf(0, false, true, 0, 0, 2),
      tryOf(3, true, true, 0, 0, 2),
    ]);
  });
});

describe('headgate up', () => {
  it('gives a flow its class with its first packet, and the pipeline has nothing left to write', async () => {
    const gateway = await Gateway.build();
    const folder = await mkdtemp(join(tmpdir(), 'headgate-'));
    try {
      const file = join(folder, 'kernel.gate');
      await writeFile(
        file,
        'link wan { }\nqueue local { share 50% }\nqueue new { share 10% }\nqueue seed { share 5% }\nrule seeders when origin remote and local.port 51413 -> new\nrule odd when origin local and remote.port 9999 -> seed\ndefault local -> local remote -> seed new -> new\n',
      );
      const program = await gateway.up(file, '--device', 'wan', '--download', '50mbit', '--upload', '50mbit');
      await gateway.serve(gateway.inside, 'udp', '0.0.0.0', 51413);
      await gateway.ask(gateway.world, 'udp', WAN, 51413);
      await gateway.serve(gateway.world, 'tcp', GATEWAY_WORLD, 9999);
      await gateway.ask(gateway.inside, 'tcp', GATEWAY_WORLD, 9999);
      const list = await gateway.box.run('conntrack', '-L');
      expect(list).toMatch(/udp .*dport=51413 .*mark=33554432 /);
      expect(list).toMatch(/tcp .*dport=9999 .*mark=50331648 /);
      const status = (await gateway.status()).service!;
      // Nobody follows flows that the kernel's own rules have decided.
      expect([status.flows, status.follows]).toEqual([undefined, []]);
      expect([status.marksWritten, status.marksFailed]).toEqual([0, 0]);
      await program.stop('SIGTERM');
      expect(await gateway.box.run('conntrack', '-L')).not.toMatch(/mark=[1-9]/);
    } finally {
      await gateway.close();
      await rm(folder, { recursive: true });
    }
  });
});
