// `headgate reload` and SIGHUP under traffic. Shown on the machine's own kernel (6.18: cls_bpf, HTB, bfifo).

import { writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { afterEach, beforeEach, describe, expect, it, vi } from 'vitest';
import type { Program } from '../../src/lab/index.ts';
import { Gateway, WORLD } from './gateway.ts';
import { soon } from './soon.ts';

// Some change policies twenty times.
vi.setConfig({ testTimeout: 240_000 });

let gateway: Gateway;
let file: string;
let program: Program | undefined;
beforeEach(async () => {
  gateway = await Gateway.build();
  file = join(gateway.folder, 'test.gate');
});
afterEach(() => gateway.close());

const link = 'link wan { device wan  download 50mbit  upload 20mbit }\n';
const queues = 'queue mine { share 70% }  queue new { share 20% }  queue seed { share 10% }\n';
const defaults = 'default local -> mine  remote -> seed  new -> new\n';
/** Policies that differ in all that can change: places of queues, nesting, rates, leaves, rules, effects, links, ifbs. */
const POLICIES = {
  plain: `${link}${queues}${defaults}`,
  renumbered: `link wan { device wan  download 30mbit  upload 10mbit }
queue voice { share 20%  leaf tbf }  queue mine { share 50%  ceiling 80% }  queue new { share 10% }  queue seed { share 5% }
rule voice when udp and remote.port 5000 -> voice
${defaults}`,
  nested: `${link}queue mine { share 60% }
queue theirs { share 20%  ceiling 90%
  queue new { share 20% }
  queue seed { share 50%  leaf tbf }
}
rule look when tcp -> seed, mirror to hg-look
rule less when udp and remote.port 9 -> new, police 1mbit
${defaults}`,
  deeper: `${link}queue first { share 10% }
queue all { share 80%
  queue mine { share 60% }
  queue theirs { share 20%
    queue new { share 20% }
    queue seed { share 50% }
  }
}
rule dns when udp and remote.port 53 -> first
${defaults}`,
  line: `link wan { device wan  download 50mbit  upload 20mbit  overhead -4 mpu 64  numtxqueues 2 }\n${queues}${defaults}`,
};
/** Policies that differ in their links. */
const LINKS = {
  plain: POLICIES.plain,
  perOrigin: `link wan { device wan  download 50mbit  upload 20mbit  ifb per origin }\n${queues}${defaults}`,
  downloadOnly: `link wan { device wan  download 50mbit }\n${queues}${defaults}`,
  two: `link internet { device wan  upload 20mbit }\nlink lan { device lan  download 90mbit  upload 80mbit }\n${queues}${defaults}`,
  shared: `link wan { device wan  download 50mbit }\nlink lan { device lan  share tree with wan }\n${queues}${defaults}`,
  sharedBack: `link wan { device wan  share tree with lan }\nlink lan { device lan  download 50mbit }\n${queues}${defaults}`,
  watching: `link lan { device lan }\n${queues}${defaults}`,
};

/** What the kernel has, with the parts that are told in any order put into one, and whatever name an ifb has for the time being. */
async function objects(): Promise<string[]> {
  const { box } = gateway;
  const devices = [...(await box.run('ip', '-o', 'link', 'show')).matchAll(/^\d+: ([^:@]+)/gm)].map((m) => m[1]!);
  const parts = await Promise.all([
    box.run('ip', '-o', 'link', 'show', 'type', 'ifb'),
    ...devices.map((device) => box.run('tc', '-details', 'qdisc', 'show', 'dev', device)),
    ...devices.map(async (device) =>
      (await box.run('tc', '-details', 'class', 'show', 'dev', device)).replace(/^(?=.)/gm, `${device}: `),
    ),
    ...devices.map((device) => box.run('tc', 'filter', 'show', 'dev', device, 'ingress').catch(() => '')),
    box.run('nft', '--stateless', 'list', 'ruleset'),
  ]);
  return (
    parts
      .join('')
      .replaceAll('hg_', 'hg-')
      // Of two sets of filters that pick, the one that was free (docs/decisions/0045).
      .replace(/pref 327[34]\d (?=bpf chain 0 (?:$|handle 0x1 pick-))|\b(?<=sort|pick)-[0-9a-f]{12}/gm, '')
      .replace(/^\d+: |direct_packets_stat \d+|brd ff.*|link\/ether .*|\b(id|index|ref|bind|refcnt) \d+/gm, '')
      .split('\n')
      .sort()
  );
}

/** A way round on which each stands before each of the others, once. */
const eachToEach = <T>(names: readonly T[]): T[] => [
  ...names.flatMap((name, i) => names.slice(i + 1).flatMap((other) => [name, other])),
  names[0]!,
];

const freshOf = async (policies: Readonly<Record<string, string>>): Promise<Map<string, string[]>> => {
  const fresh = new Map<string, string[]>();
  for (const [name, policy] of Object.entries(policies)) {
    await start(policy);
    fresh.set(name, await objects());
    await program!.stop('SIGTERM');
  }
  return fresh;
};

const start = async (policy: string): Promise<void> => {
  await writeFile(file, policy);
  program = await gateway.up(file);
};
const reload = async (policy: string, ...args: string[]) => {
  await writeFile(file, policy);
  return gateway.headgate('reload', ...args);
};

describe('reload', () => {
  it('makes of one policy what starting with the other would, for each pair, and loses no packet', async () => {
    const fresh = await freshOf(POLICIES);
    const [first, ...path] = eachToEach(Object.keys(POLICIES) as (keyof typeof POLICIES)[]);
    const pairs = new Set(path.map((name, i) => `${path[i - 1] ?? first} to ${name}`));
    expect(pairs.size).toBe(fresh.size * (fresh.size - 1));
    await start(POLICIES[first!]);
    for (const name of path) {
      const pinging = gateway.ping(15);
      expect([name, await reload(POLICIES[name])]).toMatchObject([name, { status: 0, stderr: '' }]);
      expect([name, await objects()]).toEqual([name, fresh.get(name)]);
      expect([name, await pinging]).toEqual([name, 0]);
    }
  });

  it('keeps flows in their queue when its number changes, and moves those that a rule means now', async () => {
    await start(POLICIES.plain);
    await gateway.serve(gateway.world, 'udp', WORLD, 5000);
    await gateway.serve(gateway.world, 'udp', WORLD, 5001);
    await gateway.ask(gateway.inside, 'udp', WORLD, 5000, 200, 7000);
    await gateway.ask(gateway.inside, 'udp', WORLD, 5001, 200, 7001);
    expect((await reload(POLICIES.renumbered)).status).toBe(0);
    const before = (await gateway.link()).download!.queues.map(({ name, packets }) => [name, packets]);
    await gateway.ask(gateway.inside, 'udp', WORLD, 5000, 200, 7000);
    await gateway.ask(gateway.inside, 'udp', WORLD, 5001, 200, 7001);
    const after = (await gateway.link()).download!.queues.map(({ name, packets }, i) => [
      name,
      packets - Number(before[i]![1]),
    ]);
    expect(Object.fromEntries(after)).toEqual({ voice: 1, mine: 1, new: 0, seed: 0 });
    expect((await gateway.status()).links[0]!.download!.queues[0]).toMatchObject({ rate: 6e6, leaf: 'tbf' });
  });

  it('keeps the running policy when the file is broken, and says why, to the caller and in the log', async () => {
    await start(POLICIES.nested);
    const before = await objects();
    const broken = await reload('queue mine { share 170% }\n');
    expect(broken).toMatchObject({ status: 1, stdout: '' });
    expect(broken.stderr).toMatch(/share.*170%/);
    expect(broken.stderr).toMatch(/What was in force before still is/);
    const { error, diagnostics } = JSON.parse((await gateway.headgate('reload', '--json')).stdout);
    expect(error.code).toBe('HG_POLICY');
    expect(diagnostics[0]).toMatchObject({ severity: 'error', file });
    expect(await objects()).toEqual(before);
    expect(await gateway.ping(5)).toBe(0);
  });

  it('answers SIGHUP likewise, broken or not', async () => {
    await start(POLICIES.plain);
    const log: string[] = [];
    program!.onLine((line) => log.push(line));
    const says = (state: string) => soon(() => expect(log.join('\n')).toContain(`"kind":"policy","state":"${state}"`));
    await writeFile(file, 'nonsense\n');
    process.kill(program!.pid!, 'SIGHUP');
    await says('kept');
    await writeFile(file, POLICIES.renumbered);
    process.kill(program!.pid!, 'SIGHUP');
    await says('changed');
    expect((await gateway.link()).download!.queues.map(({ name }) => name)).toContain('voice');
  });

  it('adds links and takes them away, gives them other trees and ifbs, and leaves alone what stays', async () => {
    const fresh = await freshOf(LINKS);
    const indexOf = async (ifb: string) =>
      /^(\d+)/.exec(await gateway.box.run('ip', '-o', 'link', 'show', 'dev', ifb))![1];
    await start(LINKS.plain);
    const path = ['perOrigin', 'downloadOnly', 'two', 'shared', 'sharedBack', 'watching'] as const;
    const rest = ['shared', 'perOrigin', 'two', 'watching', 'plain'] as const;
    for (const name of [...path, ...rest]) {
      const pinging = gateway.ping(15);
      expect(await reload(LINKS[name])).toMatchObject({ status: 0, stderr: '' });
      // Where the upload gets another root the kernel drops what leaves meanwhile: a third of a millisecond.
      expect(await pinging).toBeLessThanOrEqual(1);
      expect([name, await objects()]).toEqual([name, fresh.get(name)]);
      const { links } = await gateway.status();
      expect(links.map(({ state }) => state)).toEqual(links.map(() => (name === 'watching' ? 'watching' : 'steering')));
    }
    expect(await gateway.ping(5)).toBe(0);
    // Another link is added: this one's ifb is not touched.
    const before = await indexOf('hg-wan');
    expect((await reload(`link lan { device lan  download 9mbit }\n${POLICIES.plain}`)).status).toBe(0);
    expect(await indexOf('hg-wan')).toBe(before);
    // It is kept from now on like the others.
    await gateway.box.run('ip', 'link', 'set', 'hg-lan', 'down');
    await soon(async () =>
      expect((await gateway.status()).links.map(({ name, state }) => [name, state])).toEqual([
        ['lan', 'open'],
        ['wan', 'steering'],
      ]),
    );
    // One that is missing is made anew, and is kept, too.
    const down = await indexOf('hg-lan');
    await gateway.box.run('ip', 'link', 'del', 'hg-lan');
    await soon(async () => expect(await indexOf('hg-lan')).not.toBe(down));
    await soon(async () => expect((await gateway.status()).links.map(({ state }) => state)).not.toContain('open'));
    expect((await reload(`link lan { device lan  download 8mbit }\n${POLICIES.plain}`)).status).toBe(0);
    expect((await gateway.status()).links.map(({ state }) => state)).toEqual(['steering', 'steering']);
  });

  it("refuses a link whose device is not there, or has what is somebody else's", async () => {
    await start(POLICIES.plain);
    const before = await objects();
    const more = (device: string) => `link more { device ${device}  download 9mbit  upload 9mbit }\n${POLICIES.plain}`;
    expect(await reload(more('none0'))).toMatchObject({ status: 3, stderr: expect.stringContaining('none0') });
    await gateway.box.run(
      'tc',
      'qdisc',
      'add',
      'dev',
      'lan',
      'root',
      'tbf',
      'rate',
      '1gbit',
      'burst',
      '1m',
      'limit',
      '1m',
    );
    expect(await reload(more('lan'))).toMatchObject({ status: 4, stderr: expect.stringContaining('tbf') });
    await gateway.box.run('tc', 'qdisc', 'del', 'dev', 'lan', 'root');
    await gateway.box.run('ip', 'link', 'add', 'hg_wan', 'type', 'ifb');
    expect(await reload(POLICIES.line)).toMatchObject({ status: 4, stderr: expect.stringContaining('hg_wan') });
    await gateway.box.run('ip', 'link', 'del', 'hg_wan');
    expect(await objects()).toEqual(before);
  });

  it('says that somebody has put a tree of his own in the place of ours, and changes nothing', async () => {
    await start(POLICIES.plain);
    await gateway.box.run('tc', 'qdisc', 'replace', 'dev', 'wan', 'root', 'handle', '1:', 'pfifo');
    const before = await objects();
    for (const policy of [POLICIES.plain, POLICIES.nested])
      expect(await reload(policy)).toMatchObject({ status: 4, stderr: expect.stringContaining('pfifo 1:') });
    expect(await objects()).toEqual(before);
    expect(await gateway.ping(5)).toBe(0);
  });

  it('says that nothing runs here', async () => {
    expect(await gateway.headgate('reload')).toMatchObject({ status: 6 });
  });
});
