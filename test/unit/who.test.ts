import { type Subscriber, VirtualTimeScheduler } from 'rxjs';
import { describe, expect, it } from 'vitest';
import { MOST_WAITING, queryOf, Sockets } from '../../src/facts/sockets.ts';
import { whileOpen } from '../../src/facts/source.ts';
import { unitOf } from '../../src/facts/unit-of.ts';
import { processSource } from '../../src/facts/who.ts';
import { CgroupPaths, type LocalSocket, type SocketQuery } from '../../src/kernel/index.ts';
import { formatAddress, parseAddress } from '../../src/model/index.ts';
import type { AskedFlow, FactAnswer } from '../../src/pipeline/index.ts';
import { flowOf } from './swarm-scenes.ts';

it.each([
  ['/system.slice/qbittorrent.service', 'qbittorrent.service'],
  ['/system.slice/system-getty.slice/getty@tty1.service', 'getty@tty1.service'],
  ['/user.slice/user-1000.slice/user@1000.service/app.slice/qbittorrent.service', 'qbittorrent.service'],
  ['/user.slice/user-1000.slice/session-3.scope', 'session-3.scope'],
  ['/system.slice/docker-0123.scope/payload/deeper', 'docker-0123.scope'],
  ['/system.slice/_cpu.service', 'cpu.service'],
  ['/system.slice', undefined],
  ['/', undefined],
])('the unit of cgroup %s is %s', (cgroup, unit) => {
  expect(unitOf(cgroup)).toBe(unit);
});

describe('the ends of a flow as the socket sees them', () => {
  const [own, router, server] = ['192.0.2.1', '203.0.113.1', '198.51.100.1'].map((text) => parseAddress(text)!);
  const isOwn = (address: Uint8Array) => formatAddress(address) === '192.0.2.1';
  const ends = (flow: AskedFlow) => {
    const query = queryOf(flow, isOwn);
    return query && [query.local, query.remote].map((e) => `${formatAddress(e.address)}:${e.port}`);
  };
  const plain = flowOf('local', 'tcp', 40_000, '198.51.100.1', 443, '192.0.2.1');

  it('are those before translation of what it opened, and those after of what it accepted', () => {
    // Source NAT, and to a proxy in place of the server.
    const reply = { source: router!, sourcePort: 3128, destination: server!, destinationPort: 1024 };
    expect(ends({ ...plain, reply })).toEqual(['192.0.2.1:40000', '198.51.100.1:443']);
    const opened = { source: server!, sourcePort: 5000, destination: router!, destinationPort: 80 };
    const back = { source: own!, sourcePort: 8080, destination: server!, destinationPort: 5000 };
    expect(ends({ ...plain, origin: 'remote', original: opened, reply: back })).toEqual([
      '192.0.2.1:8080',
      '198.51.100.1:5000',
    ]);
  });

  it('are of no interest where the flow does not end here, is of another zone, or of no port', () => {
    expect(ends(plain)).toBeDefined();
    expect(ends({ ...plain, zone: 5 })).toBeUndefined();
    expect(ends({ ...plain, protocol: 1 })).toBeUndefined();
    expect(ends(flowOf('local', 'tcp', 40_000, '198.51.100.1', 443, '10.0.0.9'))).toBeUndefined();
  });
});

describe('looking up sockets', () => {
  function bench(find: (queries: readonly SocketQuery[]) => (LocalSocket | undefined)[], isOwn = () => true) {
    const scheduler = new VirtualTimeScheduler();
    const asked: number[] = [];
    let closed = 0;
    const options = {
      scheduler,
      isOwn,
      open: () => ({
        find: (queries: readonly SocketQuery[]) => {
          asked.push(queries.length);
          return find(queries);
        },
        close: () => closed++,
      }),
      describe: async ({ uid }: LocalSocket) => ({ user: { id: uid } }),
    };
    let subscriber!: Subscriber<FactAnswer>;
    const sockets = whileOpen({ word: 'user', supplies: ['user'] }, (opened) => {
      subscriber = opened;
      return new Sockets(options, opened);
    });
    const answers: FactAnswer[] = [];
    let problem: unknown;
    const running = sockets.answers.subscribe({
      next: (answer) => answers.push(answer),
      error: (error) => {
        problem = error;
      },
    });
    const run = async () => {
      scheduler.flush();
      await new Promise(setImmediate);
    };
    const held = () => (subscriber as unknown as { _finalizers: unknown[] })._finalizers.length;
    return { sockets, asked, answers, run, running, held, problem: () => problem, closed: () => closed };
  }
  const socket = (uid: number): LocalSocket => ({ uid, inode: 1, cgroup: undefined });
  const flow = (port: number) => flowOf('local', 'tcp', port, '198.51.100.1', 443);

  it('looks up together those that came together, says of each once, and nothing of those that have ended', async () => {
    const { sockets, asked, answers, run } = bench((queries) =>
      queries.map(({ local }) => (local.port === 3 ? undefined : socket(local.port!))),
    );
    const flows = [1, 2, 3, 4].map(flow);
    for (const one of flows) sockets.ask(one);
    sockets.end(flows[3]!);
    await run();
    expect(asked).toEqual([3]);
    expect(answers).toEqual([1, 2].map((port) => ({ flow: flows[port - 1], facts: { user: { id: port } } })));
    expect(sockets.counts()).toEqual({ found: 2, 'not found': 1, dropped: 0 });
    await run();
    expect(asked).toEqual([3]);
  });

  it('drops the oldest where they are too many, and lets other work have its turn', async () => {
    const { sockets, asked, run } = bench((queries) => queries.map(() => undefined));
    for (let i = 0; i <= MOST_WAITING; i++) sockets.ask(flow(i));
    await run();
    const dropped = MOST_WAITING / 16 + 1;
    expect(sockets.counts()).toEqual({ found: 0, 'not found': MOST_WAITING + 1 - dropped, dropped });
    expect(Math.max(...asked)).toBe(256);
  });

  it('keeps nothing of the turns that have been', async () => {
    const { sockets, asked, run, held } = bench((queries) => queries.map(() => undefined));
    const before = held();
    for (let i = 0; i < 1000; i++) {
      sockets.ask(flow(i));
      await run();
    }
    expect([asked.length, held()]).toEqual([1000, before]);
  });

  it('goes by the ends as they were when it was asked: an address may leave the box meanwhile', async () => {
    let own = true;
    const { sockets, answers, run, problem } = bench(
      (queries) => queries.map(({ local }) => socket(local.port!)),
      () => own,
    );
    sockets.ask(flow(1));
    own = false;
    await run();
    expect([problem(), answers.length]).toEqual([undefined, 1]);
  });

  it('closes when nobody listens, and when the kernel is deaf', async () => {
    const { sockets, run, running, closed, answers } = bench((queries) => queries.map(() => socket(1)));
    sockets.ask(flow(1));
    running.unsubscribe();
    await run();
    sockets.ask(flow(2));
    await run();
    expect([closed(), answers, sockets.counts()]).toEqual([1, [], {}]);
    const deaf = bench(() => {
      throw new Error('no buffer');
    });
    deaf.sockets.ask(flow(1));
    await deaf.run();
    expect([deaf.closed(), `${deaf.problem()}`]).toEqual([1, 'Error: no buffer']);
  });
});

it('a process that cannot be looked for is not known, and nothing ends', async () => {
  const scheduler = new VirtualTimeScheduler();
  const root = Promise.reject(new Error('EMFILE'));
  const open = () => ({ find: () => [{ uid: 1, inode: 1, cgroup: 1n }], close: () => {} });
  const source = processSource({ cgroups: new CgroupPaths(root), isOwn: () => true, open, scheduler });
  const answers: FactAnswer[] = [];
  source.answers.subscribe((answer) => answers.push(answer));
  const flow = flowOf('local', 'tcp', 1, '198.51.100.1', 443);
  source.ask(flow);
  scheduler.flush();
  await new Promise(setImmediate);
  expect(answers).toEqual([{ flow, facts: { process: undefined } }]);
});
