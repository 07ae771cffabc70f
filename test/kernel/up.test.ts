// `headgate up` as a process in a gateway of its own, with real packets. Shown on the machine's own kernel
// (6.18: cls_bpf, HTB, bfifo).

import { writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { setTimeout as delay } from 'node:timers/promises';
import { afterEach, beforeEach, describe, expect, it, vi } from 'vitest';
import { Program } from '../../src/lab/index.ts';
import type { DirectionStatus } from '../../src/service/index.ts';
import { Gateway, HEADGATE, INSIDE, WAN, WORLD } from './gateway.ts';
import { PATIENCE } from './soon.ts';

let gateway: Gateway;
beforeEach(async () => {
  gateway = await Gateway.build();
});
afterEach(() => gateway.close());

async function policyFile(rules: string): Promise<string> {
  const file = join(gateway.folder, 'test.gate');
  await writeFile(
    file,
    `link wan { device wan  download 50mbit  upload 50mbit }
queue local { share 60% }  queue new { share 10% }  queue remote { share 10% }  queue special { share 5% }
${rules}
default local -> local  remote -> remote  new -> new
`,
  );
  return file;
}

const packetsOf = (direction: DirectionStatus | undefined): Record<string, number> =>
  Object.fromEntries((direction?.queues ?? []).map((q) => [q.name, q.packets]));

const until = <T>(what: string, get: () => Promise<T | undefined | false>): Promise<T> =>
  vi.waitUntil(get, { timeout: 10_000, interval: 20 }).catch(() => {
    throw new Error(`never happened: ${what}`);
  }) as Promise<T>;

describe('up', () => {
  it('queues by who opened the connection, both ways, and leaves no trace at its end', async () => {
    const before = await gateway.snapshot();
    await gateway.serve(gateway.world, 'udp', WORLD, 5000);
    await gateway.serve(gateway.inside, 'udp', INSIDE, 51413);
    const program = await gateway.up();

    await gateway.ask(gateway.inside, 'udp', WORLD, 5000);
    await gateway.ask(gateway.world, 'udp', WAN, 51413, 200, 7000);
    await gateway.ask(gateway.world, 'udp', WAN, 51413, 200, 7000);

    const status = await gateway.status();
    expect(status.running).toBe(true);
    expect(status.service).toMatchObject({ datapath: 'bpf', overruns: 0, follows: [] });
    expect(status.links[0]).toMatchObject({
      name: 'wan',
      device: 'wan',
      state: 'steering',
      ifbs: [{ name: 'hg-wan' }],
    });
    // One answer to us; the stranger's first packet was new, the second remote.
    expect(packetsOf(status.links[0]!.download)).toEqual({ local: 1, new: 1, remote: 1 });
    expect(packetsOf(status.links[0]!.upload)).toEqual({ local: 1, new: 0, remote: 2 });
    expect(status.links[0]!.download!.packets).toMatchObject({ local: 1, remote: 1, new: 1, marked: 0 });
    expect(status.links[0]!.download!.queues[0]).toMatchObject({
      classid: '7fe0:1',
      leaf: 'bfifo',
      rate: 35e6,
      ceil: 50e6,
      drops: 0,
    });

    expect(await program.stop('SIGTERM')).toEqual({ status: 0, signal: null });
    expect(await gateway.snapshot()).toBe(before);
  });

  it.each(['SIGINT', 'SIGTERM'] as const)('takes everything down on %s', async (signal) => {
    const before = await gateway.snapshot();
    const program = await gateway.up();
    expect(await gateway.snapshot()).not.toBe(before);
    expect((await program.stop(signal)).status).toBe(0);
    expect(await gateway.snapshot()).toBe(before);
  });

  /** In a group of its own, as on a terminal: all who are in it get a signal to it. */
  const startGroup = () => {
    const argv = [
      'setsid',
      ...HEADGATE,
      'up',
      '--json',
      ...['--device', 'wan', '--download', '9mbit', '--upload', '9mbit'],
    ];
    return Program.start('headgate up', argv as [string, ...string[]], { netns: gateway.box.name });
  };

  it('leaves nothing, and ends well, where a whole group is ended while it starts', async () => {
    const before = await gateway.snapshot();
    // From the moment that it answers signals, in steps, over a start.
    for (let ms = 250; ms <= 600; ms += 25) {
      const program = startGroup();
      await delay(ms * PATIENCE);
      for (let i = 0; i < 2; i++)
        // It may have come to its end just now.
        try {
          process.kill(-program.pid!, 'SIGTERM');
        } catch {}
      const { status } = await program.ended;
      expect([0, null], program.output.join('\n')).toContain(status);
      expect(await gateway.snapshot()).toBe(before);
    }
  });

  it('takes everything down however often Ctrl-C is pressed', async () => {
    const before = await gateway.snapshot();
    for (const gap of [5, 15, 40, 80]) {
      const program = startGroup();
      await program.line((line) => line.includes('"kind":"ready"'), 20_000 * PATIENCE);
      let ended = false;
      void program.ended.then(() => {
        ended = true;
      });
      for (let i = 0; i < 8 && !ended; i++) {
        // It may have come to its end just now.
        try {
          process.kill(-program.pid!, 'SIGINT');
        } catch {}
        await delay(gap);
      }
      // At its very end node answers signals no more.
      expect([0, null]).toContain((await program.ended).status);
      expect(await gateway.snapshot()).toBe(before);
    }
  });

  it('puts a flow where a rule says, both ways, and takes its mark away at the end, and no bit of anybody else’s', async () => {
    await gateway.box.feed(
      'table ip other {\n  chain c {\n    type filter hook prerouting priority mangle; policy accept;\n    ct state new ct mark set 0x80000042\n  }\n}\n',
      'nft',
      '-f',
      '-',
    );
    await gateway.serve(gateway.inside, 'udp', INSIDE, 51413);
    const program = await gateway.up(
      await policyFile('rule torrents when udp and origin remote and local.port in 51413 -> special'),
      '--device',
      'wan',
    );
    const events: string[] = [];
    const reader = gateway.events();
    reader.onLine((line) => events.push(line));
    await until('a reader of events', async () =>
      (await gateway.box.run('ss', '-xH').catch(() => 'headgate')).includes('headgate'),
    );

    await gateway.ask(gateway.world, 'udp', WAN, 51413, 200, 7000);
    // By nft, at the first packet: the first answer goes by it already, and the pipeline has nothing to write.
    expect(await gateway.box.run('conntrack', '-L', '-p', 'udp')).toContain(`mark=${0x84000042}`);
    await gateway.ask(gateway.world, 'udp', WAN, 51413, 200, 7000);
    expect((await gateway.status()).service!.marksWritten).toBe(0);

    const { download, upload } = await gateway.link();
    expect(packetsOf(download)).toEqual({ local: 0, new: 1, remote: 0, special: 1 });
    expect(packetsOf(upload)).toMatchObject({ local: 0, special: 2 });
    expect(download!.packets.marked).toBe(1);
    const event = await until('the flow’s event', async () => events.find((line) => line.includes('flow.new')));
    expect(JSON.parse(event)).toMatchObject({
      kind: 'flow.new',
      protocol: 'udp',
      local: `${INSIDE}:51413`,
      remote: `${WORLD}:7000`,
      origin: 'remote',
      queue: 'special',
      rule: 'torrents',
    });

    await program.stop('SIGTERM');
    expect(await gateway.box.run('conntrack', '-L', '-p', 'udp')).toContain(`mark=${0x80000042}`);
    expect((await reader.stop()).status).toBe(0);
  });

  it('marks flows that it finds, and clears what an earlier policy marked', async () => {
    await gateway.serve(gateway.world, 'udp', WORLD, 5000);
    const file = await policyFile('rule five when udp and remote.port in 5000 -> special');
    await (await gateway.up(file, '--keep')).stop('SIGTERM');
    await gateway.ask(gateway.inside, 'udp', WORLD, 5000, 200, 6000);
    const marked = await gateway.up(file, '--keep');
    await until('the mark', async () =>
      (await gateway.box.run('conntrack', '-L', '-p', 'udp')).includes(`mark=${4 << 24}`),
    );
    await marked.stop('SIGTERM');
    expect(await gateway.box.run('conntrack', '-L', '-p', 'udp')).toContain(`mark=${4 << 24}`);
    await gateway.up();
    await until('no mark', async () => (await gateway.box.run('conntrack', '-L', '-p', 'udp')).includes('mark=0'));
  });

  it('--keep leaves queues that go on steering, shown as kept, and down takes them away', async () => {
    const before = await gateway.snapshot();
    await gateway.serve(gateway.world, 'udp', WORLD, 5000);
    const program = await gateway.up('--keep');
    await program.stop('SIGTERM');
    await gateway.ask(gateway.inside, 'udp', WORLD, 5000);
    const status = await gateway.status();
    expect(status).toMatchObject({ running: false, links: [{ name: 'wan', state: 'kept' }] });
    expect(status.links[0]!.download!.packets.local).toBe(1);
    expect((await gateway.headgate('down')).stdout).toMatch(/^stop redirecting what arrives on wan\n/);
    expect(await gateway.snapshot()).toBe(before);
    expect((await gateway.headgate('down')).stdout).toBe('nothing of headgate is here\n');
    expect((await gateway.headgate('status')).status).toBe(6);
  });

  it('goes on steering after kill -9, and the next up takes over', async () => {
    const before = await gateway.snapshot();
    await gateway.serve(gateway.world, 'udp', WORLD, 5000);
    const killed = await gateway.up();
    await killed.stop('SIGKILL');
    await gateway.ask(gateway.inside, 'udp', WORLD, 5000);
    expect((await gateway.link()).download!.packets.local).toBe(1);
    expect(await gateway.ping(10)).toBe(0);

    // As it is: its counters go on.
    const next = await gateway.up();
    await gateway.ask(gateway.inside, 'udp', WORLD, 5000);
    expect(await gateway.link()).toMatchObject({ state: 'steering', download: { packets: { local: 12 } } });
    await next.stop('SIGTERM');
    expect(await gateway.snapshot()).toBe(before);
  });

  it.each(['clsact', 'ingress'])('uses a qdisc %s that is there, and leaves it', async (kind) => {
    await gateway.box.run('tc', 'qdisc', 'add', 'dev', 'wan', kind);
    const before = await gateway.snapshot();
    const program = await gateway.up();
    expect(await gateway.ping(3)).toBe(0);
    expect((await gateway.link()).download!.packets.local).toBe(3);
    await program.stop('SIGTERM');
    expect(await gateway.snapshot()).toBe(before);
  });

  it('shapes one direction alone where the other has no rate', async () => {
    const before = await gateway.snapshot();
    const program = await gateway.up('--device', 'wan', '--upload', '20mbit');
    expect(await gateway.link()).not.toHaveProperty('download');
    expect(await gateway.box.run('tc', 'qdisc', 'show', 'dev', 'wan')).not.toContain('clsact');
    await program.stop('SIGTERM');
    expect(await gateway.snapshot()).toBe(before);
  });

  it('goes on when nobody reads what it prints, and still takes everything down', async () => {
    const before = await gateway.snapshot();
    const command = ['up', '--device', 'wan', '--download', '50mbit', '--upload', '50mbit'];
    const script = '"$@" 2>&1 | head -1';
    const program = Program.start('up | head', ['sh', '-c', script, 'sh', ...HEADGATE, ...command], {
      netns: gateway.box.name,
    });
    const service = await until('the service', async () => (await gateway.status()).service);
    await gateway.box.run('ip', 'link', 'set', 'hg-wan', 'down');
    await until('the open link', async () => (await gateway.link()).state === 'open');
    expect(await gateway.ping(3)).toBe(0);
    process.kill(service.pid, 'SIGTERM');
    await program.ended;
    expect(await gateway.snapshot()).toBe(before);
  });

  it('down stops a running one', async () => {
    const before = await gateway.snapshot();
    const program = await gateway.up();
    const exit = await gateway.headgate('down');
    expect(exit).toMatchObject({ status: 0, stdout: `stop headgate (pid ${program.pid})\n` });
    expect((await program.ended).status).toBe(0);
    expect(await gateway.snapshot()).toBe(before);
  });

  it('status does not call shaped what somebody has taken away', async () => {
    const program = await gateway.up('--keep');
    expect(await gateway.link()).toMatchObject({ uploadLost: false });
    await gateway.box.run('tc', 'qdisc', 'replace', 'dev', 'wan', 'root', 'handle', '1:', 'pfifo');
    expect(await gateway.status()).toMatchObject({ running: true, tracking: true, links: [{ uploadLost: true }] });
    expect((await gateway.headgate('status')).stdout).toContain(
      'warning: upload is not shaped, our tree on wan is gone',
    );
    await program.stop('SIGKILL');
    await gateway.box.run('nft', 'flush', 'ruleset');
    expect(await gateway.status()).toMatchObject({ running: false, tracking: false, links: [{ state: 'kept' }] });
    expect((await gateway.headgate('status')).stdout).toContain('warning: the nft table inet headgate is gone');
  });
});
