// `headgate reload` and SIGHUP under traffic. Shown on the machine's own kernel (6.18: cls_bpf, HTB, bfifo).

import { writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { afterEach, beforeEach, describe, expect, it } from 'vitest';
import type { Program } from '../../src/lab/index.ts';
import { Gateway, WORLD } from './gateway.ts';
import { soon } from './soon.ts';

let gateway: Gateway;
let file: string;
let program: Program | undefined;
beforeEach(async () => {
  gateway = await Gateway.build();
  file = join(gateway.folder, 'test.gate');
});
afterEach(() => gateway.close());

const link = 'link wan { device wan  download 50mbit  upload 20mbit }\n';
const defaults = 'default local -> mine  remote -> seed  new -> new\n';
/** Policies that differ in all that can change in place: places of queues, nesting, rates, leaves, rules, effects. */
const POLICIES = {
  plain: `${link}queue mine { share 70% }  queue new { share 10% }  queue seed { share 5% }\n${defaults}`,
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
};

/** What the kernel has, with the parts that are told in any order put into one. */
async function objects(): Promise<string[]> {
  const { box } = gateway;
  const parts = await Promise.all([
    box.run('ip', '-o', 'link', 'show', 'type', 'ifb'),
    box.run('tc', 'qdisc', 'show'),
    box.run('tc', 'class', 'show', 'dev', 'hg-wan'),
    box.run('tc', 'class', 'show', 'dev', 'wan'),
    box.run('nft', '--stateless', 'list', 'ruleset'),
  ]);
  return parts
    .join('')
    .replace(/^\d+: |direct_packets_stat \d+|brd ff.*|link\/ether .*/gm, '')
    .split('\n')
    .sort();
}

const start = async (policy: string): Promise<void> => {
  await writeFile(file, policy);
  program = await gateway.up(file, '--device', 'wan');
};
const reload = async (policy: string, ...args: string[]) => {
  await writeFile(file, policy);
  return gateway.headgate('reload', ...args);
};

describe('reload', () => {
  it('makes of one policy what starting with the other would, for each pair, and loses no packet', async () => {
    const fresh = new Map<string, string[]>();
    for (const [name, policy] of Object.entries(POLICIES)) {
      await start(policy);
      fresh.set(name, await objects());
      await program!.stop('SIGTERM');
    }
    // Each to each of the others, once.
    const path = ['renumbered', 'plain', 'nested', 'plain', 'deeper', 'renumbered', 'nested', 'renumbered'] as const;
    const rest = ['deeper', 'nested', 'deeper', 'plain'] as const;
    await start(POLICIES.plain);
    const pinging = gateway.ping(150);
    for (const name of [...path, ...rest]) {
      expect(await reload(POLICIES[name])).toMatchObject({ status: 0, stderr: '' });
      expect(await objects()).toEqual(fresh.get(name));
    }
    expect(await pinging).toBe(0);
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
    expect(broken.stderr).toMatch(/The policy that ran before is still in force/);
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

  it('refuses what cannot change in place, and names it', async () => {
    await start(POLICIES.plain);
    const before = await objects();
    const other = POLICIES.plain.replace('upload 20mbit', '');
    expect(await reload(other)).toMatchObject({ status: 1, stderr: expect.stringContaining('loses its upload rate') });
    const more = `link lan { device lan  download 9mbit }\n${POLICIES.plain}`;
    expect(await reload(more)).toMatchObject({ status: 1, stderr: expect.stringContaining('link lan is new') });
    expect(await objects()).toEqual(before);
  });

  it('undoes all of it when the kernel refuses a part', async () => {
    await start(POLICIES.plain);
    // Where a class is to be changed under its new parent, somebody has put another tree.
    await gateway.box.run('tc', 'qdisc', 'replace', 'dev', 'wan', 'root', 'handle', '1:', 'pfifo');
    const before = await objects();
    const refused = await reload(POLICIES.nested);
    expect(refused).toMatchObject({ status: 5, stderr: expect.stringContaining('dev wan') });
    expect(await objects()).toEqual(before);
    expect(await gateway.ping(5)).toBe(0);
  });

  it('says that nothing runs here', async () => {
    expect(await gateway.headgate('reload')).toMatchObject({ status: 6 });
  });
});
