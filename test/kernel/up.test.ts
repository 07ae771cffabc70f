// `headgate up` as a process in a gateway of its own, with real packets. Shown on the machine's own kernel
// (6.18: cls_bpf, HTB, bfifo).

import { writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { afterEach, beforeEach, describe, expect, it } from 'vitest';
import { addFolder, delFolder, run } from '../../src/kernel/index.ts';
import { Program } from '../../src/lab/index.ts';
import type { DirectionStatus, LinkStatus } from '../../src/service/index.ts';
import { exitOf, Gateway, HEADGATE, INSIDE, WAN, WORLD } from './gateway.ts';

let gateway: Gateway;
let folder: string;
beforeEach(async () => {
  folder = await addFolder();
  gateway = await Gateway.build();
});
afterEach(async () => {
  await gateway.close();
  await delFolder(folder);
});

async function policyFile(rules: string): Promise<string> {
  const file = join(folder, 'test.gate');
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

async function until<T>(what: string, get: () => Promise<T | undefined | false>): Promise<T> {
  const end = Date.now() + 10_000;
  for (;;) {
    const value = await get();
    if (value) return value;
    if (Date.now() > end) throw new Error(`never happened: ${what}`);
    await new Promise((resolve) => setTimeout(resolve, 20));
  }
}

/** Pings from the inside to the world, ten a second, until stopped; says how many were lost. */
async function ping(count: number): Promise<number> {
  const out = await gateway.inside
    .run('ping', '-i', '0.05', '-c', String(count), '-W', '1', WORLD)
    .catch((error) => String(error));
  const received = Number(/(\d+) received/.exec(out)?.[1] ?? 0);
  return count - received;
}

const link = async (): Promise<LinkStatus> => (await gateway.status()).links[0]!;

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
    expect(status.service).toMatchObject({ datapath: 'bpf', overruns: 0, flows: { local: 1, remote: 1 } });
    expect(status.links[0]).toMatchObject({ name: 'wan', device: 'wan', state: 'steering', ifb: 'hg-wan' });
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

  it.each(['SIGINT', 'SIGTERM', 'SIGHUP'] as const)('takes everything down on %s', async (signal) => {
    const before = await gateway.snapshot();
    const program = await gateway.up();
    expect(await gateway.snapshot()).not.toBe(before);
    expect((await program.stop(signal)).status).toBe(0);
    expect(await gateway.snapshot()).toBe(before);
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
    const reader = Program.start('events', ['env', ...HEADGATE, 'events', '--json'], { netns: gateway.box.name });
    reader.onLine((line) => events.push(line));
    await until('a reader of events', async () =>
      (await gateway.box.run('ss', '-xH').catch(() => 'headgate')).includes('headgate'),
    );

    await gateway.ask(gateway.world, 'udp', WAN, 51413, 200, 7000);
    // By nft, at the first packet: the first answer goes by it already, and the pipeline has nothing to write.
    expect(await gateway.box.run('conntrack', '-L', '-p', 'udp')).toContain(`mark=${0x84000042}`);
    await gateway.ask(gateway.world, 'udp', WAN, 51413, 200, 7000);
    expect((await gateway.status()).service!.marksWritten).toBe(0);

    const { download, upload } = await link();
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
    expect((await link()).download!.packets.local).toBe(1);
    expect(await ping(10)).toBe(0);

    const next = await gateway.up();
    await gateway.ask(gateway.inside, 'udp', WORLD, 5000);
    expect(await link()).toMatchObject({ state: 'steering', download: { packets: { local: 1 } } });
    await next.stop('SIGTERM');
    expect(await gateway.snapshot()).toBe(before);
  });

  it('uses a clsact that is there, and leaves it', async () => {
    await gateway.box.run('tc', 'qdisc', 'add', 'dev', 'wan', 'clsact');
    const before = await gateway.snapshot();
    const program = await gateway.up();
    expect(await ping(3)).toBe(0);
    await program.stop('SIGTERM');
    expect(await gateway.snapshot()).toBe(before);
  });

  it('shapes one direction alone where the other has no rate', async () => {
    const before = await gateway.snapshot();
    const program = await gateway.up('--device', 'wan', '--upload', '20mbit');
    expect(await link()).not.toHaveProperty('download');
    expect(await gateway.box.run('tc', 'qdisc', 'show', 'dev', 'wan')).not.toContain('clsact');
    await program.stop('SIGTERM');
    expect(await gateway.snapshot()).toBe(before);
  });
});

describe('devices that change under it', () => {
  /** Traffic that must not stop while `change` happens: at most `most` of its packets may be lost. */
  async function undisturbed(change: () => Promise<unknown>, most: number): Promise<void> {
    const lost = ping(60);
    await change();
    expect(await lost).toBeLessThanOrEqual(most);
  }
  const state = (program: Program, wanted: string) =>
    program.line((line) => line.includes('"kind":"link"') && line.includes(`"state":"${wanted}"`));

  it('an ifb taken down: the filter goes, traffic passes unshaped; up again: it is steered again', async () => {
    const program = await gateway.up();
    await undisturbed(async () => {
      await gateway.box.run('ip', 'link', 'set', 'hg-wan', 'down');
      await state(program, 'open');
    }, 2);
    expect(await gateway.box.run('tc', 'filter', 'show', 'dev', 'wan', 'ingress')).toBe('');
    await undisturbed(async () => {
      await gateway.box.run('ip', 'link', 'set', 'hg-wan', 'up');
      await state(program, 'steering');
    }, 1);
    expect(await link()).toMatchObject({ state: 'steering' });
  });

  it('an ifb deleted: the filter goes, traffic passes unshaped', async () => {
    const before = await gateway.snapshot();
    const program = await gateway.up();
    await undisturbed(async () => {
      await gateway.box.run('ip', 'link', 'del', 'hg-wan');
      await state(program, 'open');
    }, 2);
    expect(await gateway.box.run('tc', 'filter', 'show', 'dev', 'wan', 'ingress')).toBe('');
    await program.stop('SIGTERM');
    expect(await gateway.snapshot()).toBe(before);
  });

  it('the device deleted: its ifb goes; the device back: it is steered again', async () => {
    const program = await gateway.up();
    await gateway.box.run('ip', 'link', 'del', 'wan');
    await state(program, 'absent');
    expect(await gateway.box.run('ip', 'link', 'show')).not.toContain('hg-wan');
    await gateway.layWan();
    await state(program, 'steering');
    expect(await ping(5)).toBe(0);
    expect((await link()).download!.packets.local).toBeGreaterThanOrEqual(5);
    expect((await program.stop('SIGTERM')).status).toBe(0);
    expect(await gateway.box.run('ip', 'link', 'show')).not.toContain('hg-wan');
    expect(await gateway.box.run('nft', 'list', 'tables')).not.toContain('headgate');
  });
});

describe('what is refused', () => {
  const args = ['--device', 'wan', '--download', '50mbit', '--upload', '50mbit'];

  it.each([
    [
      'a device that does not exist',
      [],
      ['--device', 'nope', '--download', '1mbit'],
      3,
      'there is no network device "nope"',
    ],
    ['a rate that is none', [], ['--device', 'wan', '--download', 'fast'], 2, '--download fast: that is no rate'],
    ['no rate at all', [], ['--device', 'wan'], 2, 'neither download nor upload'],
    ['no device', [], ['--download', '1mbit'], 2, 'link wan has no device'],
    ['a policy that is not there', [], ['nope.gate'], 2, 'cannot read nope.gate: no such file'],
    ['an option that does not exist', [], ['--frobnicate'], 2, "unknown option '--frobnicate'"],
    [
      'an ifb of somebody else',
      ['ip', 'link', 'add', 'hg-wan', 'type', 'ifb'],
      args,
      4,
      'a device named hg-wan exists and is not ours',
    ],
    [
      'a root qdisc of somebody else',
      [
        'tc',
        'qdisc',
        'add',
        'dev',
        'wan',
        'root',
        'handle',
        '1:',
        'tbf',
        'rate',
        '1mbit',
        'burst',
        '10k',
        'latency',
        '50ms',
      ],
      args,
      4,
      'wan has a root qdisc that is not ours: tbf 1:',
    ],
    [
      'an HTB of somebody else',
      ['tc', 'qdisc', 'add', 'dev', 'wan', 'root', 'handle', '7fe2:', 'htb'],
      args,
      4,
      'wan has a root qdisc that is not ours: htb 7fe2:',
    ],
    [
      'an nft table of that name',
      ['nft', 'add', 'table', 'inet', 'headgate'],
      args,
      4,
      'an nft table inet headgate exists and is not ours',
    ],
  ] as const)('%s', async (_, prepare, options, status, message) => {
    if (prepare.length > 0) await gateway.box.run(...(prepare as unknown as [string, ...string[]]));
    const before = await gateway.snapshot();
    const exit = await gateway.headgate('up', ...options);
    expect(exit.stderr).toContain(message);
    expect(exit.stdout).toBe('');
    expect(exit.status).toBe(status);
    expect(exit.stderr.trim().split('\n').length, exit.stderr).toBeLessThanOrEqual(3);
    expect(await gateway.snapshot()).toBe(before);
  });

  it('a filter of somebody else', async () => {
    await gateway.box.run('tc', 'qdisc', 'add', 'dev', 'wan', 'clsact');
    await gateway.box.run(
      'tc',
      'filter',
      'add',
      'dev',
      'wan',
      'ingress',
      'protocol',
      'ip',
      'prio',
      '5',
      'u32',
      'match',
      'u32',
      '0',
      '0',
    );
    const before = await gateway.snapshot();
    const exit = await gateway.headgate('up', ...args);
    expect(exit).toMatchObject({ status: 4, stdout: '' });
    expect(exit.stderr).toContain('wan has ingress filters that are not ours: pref 5 u32');
    expect(await gateway.snapshot()).toBe(before);
  });

  it('a policy with three mistakes: all three, with line and column', async () => {
    const file = join(folder, 'bad.gate');
    await writeFile(
      file,
      'link wan { download 10mbyte }\nqueue a { share 50% }\nrule r when origin locl -> a\ndefault local -> b  remote -> a  new -> a\n',
    );
    const before = await gateway.snapshot();
    const exit = await gateway.headgate('up', file, ...args);
    expect(exit.status).toBe(1);
    expect(exit.stderr).toMatch(/bad\.gate:1:\d+/);
    expect(exit.stderr).toMatch(/bad\.gate:3:\d+/);
    expect(exit.stderr).toMatch(/bad\.gate:4:\d+/);
    expect(exit.stderr).toContain('3 errors in the policy');
    expect(await gateway.snapshot()).toBe(before);
  });

  it('a second one in the same namespace, and down while it runs', async () => {
    const program = await gateway.up();
    for (const command of [['up', ...args], ['down']]) {
      const exit = await gateway.headgate(...command);
      expect(exit.status).toBe(4);
      expect(exit.stderr).toContain(`headgate runs here already (pid ${program.pid})`);
    }
    expect(await ping(3)).toBe(0);
    expect((await link()).state).toBe('steering');
  });

  it('no root', async () => {
    const exit = await exitOf(
      gateway.box.name,
      'setpriv',
      '--reuid=65534',
      '--clear-groups',
      ...HEADGATE,
      'up',
      ...args,
    );
    expect(exit).toMatchObject({ status: 3, stdout: '' });
    expect(exit.stderr).toContain('this needs root');
  });

  it('a kernel without BTF', async () => {
    const before = await gateway.snapshot();
    const hide = 'mount -t tmpfs none /sys/kernel/btf 2>/dev/null || mount -t tmpfs none /sys/kernel; exec "$@"';
    const exit = await exitOf(
      gateway.box.name,
      'unshare',
      '--mount',
      'sh',
      '-c',
      hide,
      'sh',
      ...HEADGATE,
      'up',
      ...args,
    );
    expect(exit.status).toBe(3);
    expect(exit.stderr).toContain('this kernel has no BTF');
    expect(await gateway.snapshot()).toBe(before);
  });

  it('a step that the kernel refuses: what was done before is undone', async () => {
    const before = await gateway.snapshot();
    // A tc that fails at the last step of all, as a kernel without mirred would.
    const bin = join(folder, 'tc');
    const real = (await run(['sh', '-c', 'command -v tc'])).trim();
    await writeFile(
      bin,
      `#!/bin/sh\ncase "$*" in *mirred*) echo "Error: Failed to load TC action module." >&2; exit 2;; esac\nexec ${real} "$@"\n`,
      { mode: 0o755 },
    );
    const exit = await exitOf(
      gateway.box.name,
      'env',
      `PATH=${folder}:${process.env.PATH}`,
      ...HEADGATE,
      'up',
      ...args,
    );
    expect(exit.status).toBe(5);
    expect(exit.stderr).toContain('the kernel refused "tc filter replace dev wan ingress');
    expect(exit.stderr).toContain('Failed to load TC action module');
    expect(await gateway.snapshot()).toBe(before);
  });
});

describe('errors in a pipe', () => {
  it('are one JSON object with code, message and hint', async () => {
    const exit = await gateway.headgate('up', '--json', '--device', 'nope', '--download', '1mbit');
    expect(JSON.parse(exit.stderr)).toMatchObject({
      error: { code: 'HG_NO_DEVICE', device: 'nope', hint: expect.stringContaining('lan') },
    });
  });
});
