// `headgate record` on real traffic, killed and gone on with, and `headgate replay` of it: with the policy that ran, nothing moves.
// Then what conntrack(8) itself prints of the same flows. Shown on the machine's own kernel (6.18).

import { access, mkdir, readFile, writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { afterEach, beforeEach, expect, it } from 'vitest';
import { Program } from '../../src/lab/index.ts';
import { exitOf, Gateway, HEADGATE, INSIDE, WAN, WORLD } from './gateway.ts';
import { Host } from './host.ts';
import { PATIENCE, soon } from './soon.ts';
import { tool } from './tools.ts';

/** Records onto a disk of 32 kB that nobody else sees, and keeps what is there in the end: `sh -c … DISK KEPT COMMAND …`. */
const SMALL_DISK = [
  ...['kept=$1; shift; mount -t tmpfs -o size=32k none "$0" && "$@" "$0/f.hgr"'],
  ...['status=$?; cp "$0/f.hgr" "$kept"; exit $status'],
].join('\n');

let gateway: Gateway;
beforeEach(async () => {
  gateway = await Gateway.build();
});
afterEach(() => gateway.close());

const policy = (rules: string) => `link wan { device wan  download 50mbit  upload 50mbit }
queue mine { share 60% }  queue seed { share 10% }
${rules}
default local -> mine  remote -> mine  new -> mine
`;
const RULES = `rule seeders when udp and origin remote and local.port in 51413 -> seed
rule talks when udp and remote.port 5001 and packets.out > 20 -> seed`;

it(
  'write down what happens, whole, and decide it again',
  async () => {
    const { box, inside, world, folder } = gateway;
    await box.run('sysctl', '-qw', 'net.netfilter.nf_conntrack_acct=1', 'net.netfilter.nf_conntrack_timestamp=1');
    // On a busy machine what follows takes longer than an entry lives that nothing is heard of.
    await box.run('sysctl', '-qw', 'net.netfilter.nf_conntrack_udp_timeout=600');
    const [file, other, recording] = ['a.gate', 'b.gate', 'flows.hgr'].map((name) => join(folder, name)) as [
      string,
      string,
      string,
    ];
    await writeFile(file, policy(RULES));
    await writeFile(other, policy('rule all when udp -> seed\nrule never when udp -> mine'));
    await gateway.serve(world, 'udp', WORLD, 5000);
    await gateway.serve(inside, 'udp', INSIDE, 51413);
    const [asking, serving] = [await Host.start(inside), await Host.start(world)];
    await serving.sink(WORLD, 5001);
    const program = await gateway.up(file);
    const record = () => Program.start('record', ['env', ...HEADGATE, 'record', recording], { netns: box.name });
    const recorded = () => readFile(recording, 'utf8').catch(() => '');
    const has = (text: string | RegExp) => soon(async () => expect(await recorded()).toMatch(text));

    // Followed by the policy, so known already: nobody tells of it anew.
    await gateway.ask(inside, 'udp', WORLD, 5000, 200, 5999);
    await soon(async () => expect((await gateway.headgate('flows')).stdout).toContain(':5999'));
    const first = record();
    await has(/^\["n",.*:5999","/m);
    await gateway.ask(inside, 'udp', WORLD, 5000, 200, 6000);
    await gateway.ask(world, 'udp', WAN, 51413, 200, 7000);
    await asking.tell(WORLD, 5001, 40, { from: 6001, size: 100 });
    await has(/\["u",/);
    await box.run('conntrack', '-D', '-p', 'udp');
    await soon(async () => expect((await recorded()).match(/^\["e",/gm)?.length).toBe(4));
    await first.stop('SIGKILL');
    // As a run that is killed in the middle of a line leaves it.
    await writeFile(recording, '["n",3,"ud', { flag: 'a' });
    const second = record();
    await soon(async () => expect((await recorded()).match(/"recording"/g)?.length).toBe(2));
    await gateway.ask(inside, 'udp', WORLD, 5000, 200, 6002);
    await has(/:6002"/);
    // Lines count by those before them: two runs in one file would say each other's flows.
    const third = await gateway.headgate('record', recording);
    expect(third).toMatchObject({ status: 2, stderr: expect.stringContaining('another run writes to it') });
    expect((await recorded()).match(/"recording"/g)?.length).toBe(2);
    expect(await second.stop('SIGINT')).toEqual({ status: 0, signal: null });
    // It goes on, and has carried what was asked.
    expect(await recorded()).toMatch(/^\["c",\d+,0,[1-9]\d*,[1-9]\d*,1,1\]$/m);

    // Whoever replays needs no root, and no kernel that knows the flows.
    const replay = async (...args: string[]) => {
      const exit = await exitOf(undefined, ...HEADGATE, 'replay', recording, ...args);
      expect(exit, exit.stderr).toMatchObject({ status: 0 });
      return exit.stdout;
    };
    const same = JSON.parse(await replay('--policy', file, '--json'));
    expect(same).toMatchObject({ flows: 5, torn: 1, losses: 0, moves: [] });
    expect(same.rules).toEqual([
      { rule: 'seeders', before: 1, after: 1 },
      { rule: 'talks', before: 1, after: 1 },
    ]);
    const changed = await replay('--policy', other);
    expect(changed).toMatch(/^3 flows move from mine to seed, 3 of them yours \(/m);
    expect(changed).toMatch(/^seed +2 .* 5 /m);
    expect(await replay('--policy', other)).toBe(changed);
    expect(await replay('--policy', file, '--against', other)).toMatch(
      /^3 flows move from seed to mine, 3 of them yours/m,
    );

    // Gone on with once more, while a flow of before goes on: its bytes are not counted again.
    const bytesOf = async () => {
      const { queues, runs } = JSON.parse(await replay('--policy', file, '--json'));
      return [runs, queues[0].after.bytes];
    };
    const [, bytes] = await bytesOf();
    const fourth = record();
    await soon(async () =>
      expect((await recorded()).match(/^\["n",.*:6002".*,[1-9]\d*,[1-9]\d*,1,1\]$/gm)?.length).toBe(1),
    );
    expect(await fourth.stop('SIGINT')).toEqual({ status: 0, signal: null });
    expect(await bytesOf()).toEqual([3, bytes]);

    const listed = await box.run('conntrack', '-L', '-p', 'udp');
    const input = join(folder, 'list.txt');
    await writeFile(input, listed);
    const exit = await exitOf(undefined, ...HEADGATE, 'replay', input, '--policy', other, '--json');
    expect(JSON.parse(exit.stdout)).toMatchObject({
      flows: 1,
      torn: 0,
      queues: [{ queue: 'mine' }, { queue: 'seed', after: { flows: 1 } }],
    });
    // A warning is not for the pipe.
    expect(exit.stderr).toContain('never');
    const twice = await exitOf(undefined, ...HEADGATE, 'replay', '-', '--policy', '-');
    expect(twice).toMatchObject({ status: 2, stderr: expect.stringContaining('only one file') });
    const nowhere = await gateway.headgate('record', '/nowhere/x');
    expect(nowhere).toMatchObject({ status: 2, stderr: expect.stringContaining('its folder does not exist') });
    expect(await gateway.headgate('record', '-')).toMatchObject({ status: 2 });
    await box.run('mkfifo', join(folder, 'fifo'));
    expect(await gateway.headgate('record', join(folder, 'fifo'))).toMatchObject({ status: 2 });
    // A policy is no recording, and stays what it is.
    const before = await readFile(other, 'utf8');
    expect(await gateway.headgate('record', other)).toMatchObject({ status: 2 });
    expect(await readFile(other, 'utf8')).toBe(before);
    // A disk that has no room left; and one that fills up meanwhile.
    const none = await gateway.headgate('record', '/dev/full');
    expect(none).toMatchObject({ status: 2, stderr: expect.stringContaining('/dev/full') });
    const [disk, kept] = [join(folder, 'disk'), join(folder, 'kept.hgr')];
    await mkdir(disk);
    const filling = exitOf(
      box.name,
      ...(['unshare', '--mount', 'sh', '-c', SMALL_DISK, disk, kept, ...HEADGATE, 'record'] as const),
    );
    await soon(async () => expect((await gateway.headgate('metrics')).stdout).toMatch(/^headgate_stream_readers 1$/m));
    await box.run(tool('gen_flows'), '3000', '0', '15000');
    const full = await filling;
    expect(full).toMatchObject({ status: 2, stderr: expect.stringContaining('f.hgr: the disk is full') });
    const [, flows] = /^(\d+) flows written, and some of \d+ more; .* has 32\.8kB$/m.exec(full.stderr) ?? [];
    expect(flows, full.stderr).toBeDefined();
    // What is there is whole, but for the line that had no room.
    const written = (await readFile(kept, 'utf8')).split('\n').filter((line) => line !== '');
    const left = await exitOf(undefined, ...HEADGATE, 'replay', kept, '--policy', file, '--json');
    const read = JSON.parse(left.stdout);
    expect(written.slice(0, -1).filter((line) => !line.endsWith(']') && !line.endsWith('}'))).toEqual([]);
    expect(read.torn, written.at(-1)).toBe(written.at(-1)!.endsWith(']') ? 0 : 1);
    expect(read.flows).toBe(written.filter((line) => /^\["n",.*\]$/.test(line)).length);
    expect(read.flows).toBeGreaterThanOrEqual(Number(flows));
    expect(await program.stop('SIGTERM')).toEqual({ status: 0, signal: null });
    const unmade = join(folder, 'none.hgr');
    expect(await gateway.headgate('record', unmade)).toMatchObject({ status: 6 });
    await expect(access(unmade)).rejects.toThrow();
  },
  180_000 * PATIENCE,
);
