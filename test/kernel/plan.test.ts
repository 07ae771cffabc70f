// What `headgate plan --script` prints, run by sh(1), against what `headgate up` builds in the same place. Shown on the
// machine's own kernel (6.18) with datapath bpf.

import { readdir, rm, writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { afterEach, beforeEach, describe, expect, it } from 'vitest';
import { Gateway, WORLD } from './gateway.ts';

let gateway: Gateway;
let policy: string;
beforeEach(async () => {
  gateway = await Gateway.build();
  await gateway.box.run('ip', 'link', 'add', 'wan2', 'type', 'veth', 'peer', 'name', 'up2');
  policy = join(gateway.folder, 'hand.gate');
  await writeFile(
    policy,
    `link wan  { device wan   download 50mbit  upload 20mbit  overhead docsis  numtxqueues 2 }
link wan2 { device wan2  share tree with wan }
queue local { share 60% }
queue outer { share 30%
  queue new { share 40% }
  queue remote { share 20% ceiling 50% }
}
set lan = { 10.0.0.0/8, fd00::/8 }
rule web    when tcp and local in lan and remote.port 443 -> local
rule guests when origin remote and udp -> remote, police 5mbit
rule look   when tcp and remote.port 80 -> new, mirror to tap0
rule much   when bytes > 5MB -> remote
default local -> local  remote -> remote  new -> new
`,
  );
});
afterEach(async () => {
  // A test that fails may leave it to the next namespace of that number.
  await rm(`/run/headgate-script-${await gateway.box.getId()}`, { recursive: true, force: true });
  await gateway.close();
});

/** What differs from one time to the next: numbers that the kernel hands out, counters, addresses made up. */
const CHANCE = new Set(
  ['ifindex', 'address', 'handle', 'prog', 'link_index', 'direct_packets_stat', 'stats', 'linkmode'].concat(
    'min_mtu max_mtu inet6_addr_gen_mode index ref bind packets bytes'.split(' '),
  ),
);
const scrub = (value: unknown): unknown => {
  if (Array.isArray(value)) return value.map(scrub);
  if (typeof value !== 'object' || value === null) return value;
  return Object.fromEntries(
    Object.entries(value).flatMap(([key, of]) =>
      CHANCE.has(key) && !(key === 'handle' && typeof of === 'string') ? [] : [[key, scrub(of)]],
    ),
  );
};

/** Everything of ours that ip, tc and nft tell. */
async function built(): Promise<unknown> {
  const { box } = gateway;
  const json = async (...argv: [string, ...string[]]) => scrub(JSON.parse((await box.run(...argv)) || '[]'));
  const devices = ['wan', 'wan2', 'hg-wan'];
  return {
    links: await json('ip', '-json', '-details', 'link', 'show'),
    qdiscs: await json('tc', '-json', '-details', 'qdisc', 'show'),
    classes: await Promise.all(devices.map((dev) => box.run('tc', '-details', 'class', 'show', 'dev', dev))),
    filters: await Promise.all(
      devices.slice(0, 2).map((dev) => json('tc', '-json', 'filter', 'show', 'dev', dev, 'ingress')),
    ),
    leaving: await json('tc', '-json', 'filter', 'show', 'dev', 'wan', 'parent', '7fe1:'),
    ruleset: await json('nft', '-json', 'list', 'ruleset'),
  };
}

async function script(): Promise<string> {
  const { status, stdout, stderr } = await gateway.headgate('plan', policy, '--script');
  expect({ status, stderr }).toMatchObject({ status: 0, stderr: expect.stringContaining('rule much is live') });
  const file = join(gateway.folder, 'hand.sh');
  await writeFile(file, stdout);
  return file;
}

describe('plan --script', () => {
  it('builds by hand what up builds, and takes it away again', async () => {
    const before = await gateway.snapshot();
    const program = await gateway.up(policy, '--device', 'wan');
    const byUp = await built();
    await program.stop('SIGTERM');
    expect(await gateway.snapshot()).toBe(before);

    const file = await script();
    await gateway.box.run('sh', file);
    expect(await built()).toEqual(byUp);
    await gateway.serve(gateway.world, 'udp', WORLD, 5000);
    await gateway.ask(gateway.inside, 'udp', WORLD, 5000);
    expect((await gateway.link()).download!.packets).toMatchObject({ local: 1, new: 0 });

    await expect(gateway.box.run('sh', file)).rejects.toThrow(
      /a script was run here before: sh \S+ down takes away what is left/,
    );
    expect(await built()).toEqual(byUp);
    await gateway.box.run('sh', file, 'down');
    expect(await gateway.snapshot()).toBe(before);
    await expect(gateway.box.run('sh', file, 'down')).rejects.toThrow('No such file');
  });

  it('is the same from several that ask at once, and leaves nothing', async () => {
    const left = async () => (await readdir('/run/headgate')).filter((name) => name.startsWith(`${id}.plan`));
    const id = await gateway.box.getId();
    const argv = ['plan', policy, '--json', '--datapath', 'bpf'];
    const plans = await Promise.all(Array.from({ length: 5 }, () => gateway.headgate(...argv)));
    expect(plans[0]!.status).toBe(2);
    for (const plan of plans) expect(plan).toEqual(plans[0]);
    expect(await left()).toEqual([]);
  });

  it('undoes what it did where a step fails, and nothing else', async () => {
    await gateway.box.run('tc', 'qdisc', 'add', 'dev', 'wan2', 'clsact');
    const before = await gateway.snapshot();
    const file = await script();
    await expect(gateway.box.run('sh', file)).rejects.toThrow(/Exclusivity|exist/);
    expect(await gateway.snapshot()).toBe(before);
    await gateway.box.run('tc', 'qdisc', 'del', 'dev', 'wan2', 'clsact');
    await gateway.box.run('sh', file, 'up');
    // Somebody has put a filter of his own there since: the hook stays.
    await gateway.box.run(
      ...(['tc', 'filter', 'add', 'dev', 'wan2', 'egress', 'protocol', 'ip'] as const),
      ...['u32', 'match', 'u32', '0', '0'],
    );
    await gateway.box.run('sh', file, 'down');
    expect(await gateway.box.run('tc', 'qdisc', 'show', 'dev', 'wan2')).toContain('clsact');
    expect(await gateway.box.run('tc', 'qdisc', 'show', 'dev', 'wan')).not.toContain('clsact');
  });

  it('what it builds is what down takes away, too', async () => {
    const before = await gateway.snapshot();
    const file = await script();
    await gateway.box.run('sh', file);
    expect((await gateway.headgate('down')).status).toBe(0);
    expect(await gateway.snapshot()).toBe(before);
    const program = await gateway.up(policy);
    const running = await gateway.snapshot();
    for (const verb of ['up', 'down'])
      await expect(gateway.box.run('sh', file, verb)).rejects.toThrow('headgate runs here: headgate down');
    expect(await gateway.snapshot()).toBe(running);
    await program.stop('SIGTERM');
    await gateway.box.run('sh', file, 'down');
    expect(await gateway.snapshot()).toBe(before);
  });
});
