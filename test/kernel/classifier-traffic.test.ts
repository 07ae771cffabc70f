// Real traffic end to end through the classifier, its ifb and both trees: who opened the connection decides, with NAT,
// and on a device without a link layer, and all of it arrives. Shown on Linux 6.1 and 6.18.

import { once } from 'node:events';
import { afterEach, beforeEach, describe, expect, test } from 'vitest';
import type { Verdict } from '../../src/kernel/index.ts';
import type { Namespace } from '../../src/lab/index.ts';
import { BOX, ClassifierLab, type Count, INSIDE, until, type Way, WORLD } from './classifier-lab.ts';

let lab: ClassifierLab;
const build = async (link?: 'veth' | 'tun') => {
  lab = await ClassifierLab.build(link);
};
afterEach(() => lab?.close());

/** What was counted each way while something was done. Replies have been received when it ends, so all is counted by then. */
async function watch(act: () => Promise<unknown>): Promise<Record<Way, Count>> {
  const [arriving, leaving] = [await lab.reader('in'), await lab.reader('out')];
  await act();
  return { in: await arriving(), out: await leaving() };
}

/** Expects packets of these classes and outcomes, each way, and of no others (besides what is left alone). */
function expectOnly(count: Count, ...outcomes: ('local' | 'remote' | 'new' | 'marked')[]): void {
  const all = ['local', 'remote', 'new', 'marked'] as const;
  expect(all.filter((outcome) => (count.verdicts[outcome] ?? 0) > 0)).toEqual(all.filter((o) => outcomes.includes(o)));
}

const classesOf = (count: Count): number[] => Object.keys(count.classes).map(Number);

describe.each(['veth', 'tun'] as const)('over %s', (link) => {
  beforeEach(() => build(link));

  test.each([
    ['tcp', 'v4'],
    ['tcp', 'v6'],
    ['udp', 'v4'],
    ['udp', 'v6'],
  ] as const)('%s %s, opened from either side', async (transport, v) => {
    await lab.serve(lab.world, transport, WORLD[v], 7000);
    await lab.serve(lab.box, transport, BOX[v], 7000);

    const local = await watch(() => lab.ask(lab.box, transport, WORLD[v], 7000, 1000));
    expectOnly(local.in, 'local');
    expectOnly(local.out, 'local');
    expect(classesOf(local.in)).toEqual([1]);
    expect(classesOf(local.out)).toEqual([1]);

    const remote = await watch(() => lab.ask(lab.world, transport, BOX[v], 7000, 1000));
    // The first packet comes before there is an entry.
    expect(remote.in.verdicts.new).toBe(1);
    if (transport === 'tcp') expect(remote.in.verdicts.remote).toBeGreaterThan(1);
    expectOnly(remote.out, 'remote');
    expect(classesOf(remote.out)).toEqual([2]);
  });

  test.each(['v4', 'v6'] as const)('ping %s, both ways', async (v) => {
    const ping = (ns: Namespace, host: string, ...args: string[]) =>
      ns.run('ping', '-c', '3', '-i', '0.01', '-W', '2', ...args, host);
    const local = await watch(() => ping(lab.box, WORLD[v]));
    expect(local.in.verdicts.local).toBe(3);
    expect(local.out.verdicts.local).toBe(3);
    expectOnly(local.in, 'local');
    const remote = await watch(() => ping(lab.world, BOX[v]));
    expect(remote.in.verdicts.remote).toBe(3);
    expect(remote.out.verdicts.remote).toBe(3);
    expectOnly(remote.in, 'remote');
  });

  test.each(['v4', 'v6'] as const)('datagrams of 4000 bytes in fragments, %s', async (v) => {
    await lab.box.run('ip', 'link', 'set', 'wan', 'mtu', '1500');
    await lab.world.run('ip', 'link', 'set', 'wan', 'mtu', '1500');
    await lab.serve(lab.world, 'udp', WORLD[v], 7000);
    const local = await watch(() => lab.ask(lab.box, 'udp', WORLD[v], 7000, 4000));
    expectOnly(local.in, 'local');
    expectOnly(local.out, 'local');
    expect(local.in.verdicts).toMatchObject({ local: 3, fragment_hit: 2 });
    expect(local.out.verdicts).toMatchObject({ local: 3, fragment_hit: 2 });

    await lab.serve(lab.box, 'udp', BOX[v], 7000);
    const remote = await watch(() => lab.ask(lab.world, 'udp', BOX[v], 7000, 4000));
    expect(remote.in.verdicts).toMatchObject({ new: 3, fragment_hit: 2 });
    expect(remote.out.verdicts).toMatchObject({ remote: 3, fragment_hit: 2 });
  });

  test.each(['v4', 'v6'] as const)('ICMP errors about a flow, %s', async (v) => {
    // Nobody listens: the world says so, and the asker hears it.
    const refused = await watch(() => expect(lab.ask(lab.box, 'udp', WORLD[v], 7999)).rejects.toThrow());
    expectOnly(refused.in, 'local');
    expect(refused.in.verdicts.icmp_error).toBeGreaterThan(0);
    const refusing = await watch(() => expect(lab.ask(lab.world, 'udp', BOX[v], 7999)).rejects.toThrow());
    expectOnly(refusing.out, 'remote');
    expect(refusing.out.verdicts.icmp_error).toBeGreaterThan(0);
  });
});

/** IPv4 masquerade on `wan`, and port 7000 forwarded to the host inside. */
const NAT = `table ip nat {
	chain prerouting {
		type nat hook prerouting priority dstnat; policy accept;
		iifname "wan" meta l4proto { tcp, udp } th dport 7000 dnat to ${INSIDE.v4}
	}
	chain postrouting {
		type nat hook postrouting priority srcnat; policy accept;
		oifname "wan" masquerade
	}
}
`;

describe('with NAT', () => {
  beforeEach(async () => {
    await build();
    await lab.box.feed(NAT, 'nft', '-f', '-');
  });

  test.each(['tcp', 'udp'] as const)('%s from a host behind masquerade is local', async (transport) => {
    await lab.serve(lab.world, transport, WORLD.v4, 7001);
    const count = await watch(() => lab.ask(lab.inside, transport, WORLD.v4, 7001, 5000));
    expectOnly(count.in, 'local');
    expectOnly(count.out, 'local');
    expect(classesOf(count.in)).toEqual([1]);
    expect(classesOf(count.out)).toEqual([1]);
  });

  test.each(['tcp', 'udp'] as const)('%s to a forwarded port is remote', async (transport) => {
    await lab.serve(lab.inside, transport, INSIDE.v4, 7000);
    const count = await watch(() => lab.ask(lab.world, transport, BOX.v4, 7000, 1000));
    expect(count.in.verdicts.new).toBe(1);
    if (transport === 'tcp') expectOnly(count.in, 'remote', 'new');
    expectOnly(count.out, 'remote');
    expect(classesOf(count.out)).toEqual([2]);
  });

  test('an ICMP error about a translated flow goes by that flow', async () => {
    const count = await watch(() => expect(lab.ask(lab.inside, 'udp', WORLD.v4, 7999)).rejects.toThrow('REFUSED'));
    expectOnly(count.in, 'local');
    expect(count.in.verdicts.icmp_error).toBeGreaterThan(0);
  });

  test('ping from behind masquerade is local', async () => {
    const count = await watch(() => lab.inside.run('ping', '-c', '1', '-W', '2', WORLD.v4));
    expect(count.in.verdicts.local).toBe(1);
    expect(count.out.verdicts.local).toBe(1);
  });
});

describe('the conntrack mark', () => {
  beforeEach(() => build());

  test.each(['tcp', 'udp'] as const)('set by a rule, it names the class of both ways: %s', async (transport) => {
    await lab.box.feed(
      `table inet marks {
	chain input {
		type filter hook input priority 0; policy accept;
		meta l4proto { tcp, udp } th dport 7000 ct mark set 0x05000000
	}
	chain output {
		type filter hook output priority 0; policy accept;
		meta l4proto { tcp, udp } th dport 7001 ct mark set 0x04000000
	}
}
`,
      'nft',
      '-f',
      '-',
    );
    await lab.serve(lab.world, transport, WORLD.v4, 7001);
    const local = await watch(() => lab.ask(lab.box, transport, WORLD.v4, 7001));
    expectOnly(local.in, 'marked');
    expectOnly(local.out, 'marked');
    expect(classesOf(local.in)).toEqual([4]);
    expect(classesOf(local.out)).toEqual([4]);

    await lab.serve(lab.box, transport, BOX.v4, 7000);
    const remote = await watch(() => lab.ask(lab.world, transport, BOX.v4, 7000));
    expect(remote.in.verdicts.new).toBe(1);
    expectOnly(remote.out, 'marked');
    expect(classesOf(remote.out)).toEqual([5]);
  });

  test('written into a living flow, it takes effect with the next packet', async () => {
    await lab.serve(lab.world, 'udp', WORLD.v4, 7001);
    const from = ['-s', BOX.v4, '-d', WORLD.v4, '-p', 'udp', '--sport', '6000', '--dport', '7001'] as const;
    const ask = () => lab.ask(lab.box, 'udp', WORLD.v4, 7001, 100, 6000);
    expectOnly((await watch(ask)).in, 'local');
    await lab.box.run('conntrack', '-U', ...from, '-m', '0x04000000');
    const marked = await watch(ask);
    expect(classesOf(marked.in)).toEqual([4]);
    expect(classesOf(marked.out)).toEqual([4]);
    await lab.box.run('conntrack', '-U', ...from, '-m', '0');
    expectOnly((await watch(ask)).out, 'local');
  });
});

describe('the deadline', () => {
  beforeEach(() => build());

  test('once it has passed, all packets pass untouched; before, none do', async () => {
    await lab.serve(lab.world, 'tcp', WORLD.v4, 7000);
    for (const way of ['in', 'out'] as const) await lab.setDeadline(way, 3_600_000);
    const early = await watch(() => lab.ask(lab.box, 'tcp', WORLD.v4, 7000));
    expectOnly(early.in, 'local');
    expect(early.in.verdicts.expired).toBeUndefined();

    for (const way of ['in', 'out'] as const) await lab.setDeadline(way, -100);
    const late = await watch(() => lab.ask(lab.box, 'tcp', WORLD.v4, 7000));
    for (const way of ['in', 'out'] as const) {
      expect(Object.keys(late[way].verdicts)).toEqual(['expired']);
      expect(late[way].classes).toEqual({});
    }
  });

  test('it passes by itself, and traffic goes on', async () => {
    const ping = lab.box.start('ping', '-q', '-i', '0.02', WORLD.v4);
    const answers = async (name: Verdict) => (await lab.verdicts('in'))[name];
    await lab.setDeadline('in', 3000);
    expect(
      await until(
        () => answers('local'),
        (packets) => packets > 0,
      ),
    ).toBeGreaterThan(0);
    expect(
      await until(
        () => answers('expired'),
        (packets) => packets > 0,
      ),
    ).toBeGreaterThan(0);
    const local = await answers('local');
    expect(
      await until(
        () => answers('expired'),
        (packets) => packets > 20,
      ),
    ).toBeGreaterThan(20);
    expect(await answers('local')).toBe(local);
    const ended = once(ping, 'close');
    let summary = '';
    ping.stdout!.on('data', (data) => {
      summary += data;
    });
    ping.kill('SIGINT');
    await ended;
    const [, sent, received] = /(\d+) packets transmitted, (\d+) received/.exec(summary)!.map(Number);
    expect(sent! - received!).toBeLessThanOrEqual(1); // the one on its way when ping was stopped
  });
});

test('replaced while traffic flows, it loses nothing', async () => {
  await build();
  await lab.serve(lab.world, 'tcp', WORLD.v4, 7000);
  const pinging = lab.box.run('ping', '-q', '-f', '-i', '0.002', '-c', '500', WORLD.v4);
  for (let i = 0; i < 20; i++) {
    await lab.attach('in');
    await lab.attach('out');
  }
  expect(await pinging).toContain(' 0% packet loss');
});
