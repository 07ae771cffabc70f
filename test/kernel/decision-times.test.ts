// How long after something has become true of a flow its mark says so in the kernel's table, and how long until it is taken
// back: for each kind of thing that a live rule looks at. Time is counted from before the order that makes it true, so what is
// printed is rather too much. Each is tried three times, and the best has to be in time: others use this machine, too.
// Shown on the machine's own kernel (6.18).

import { afterAll, beforeAll, expect, it } from 'vitest';
import { BOX, LiveLab, policyOf, type Turn, WORLD } from './live-lab.ts';
import { soon } from './soon.ts';

/** Ms: what is measured or waited for, and what comes by event. */
const [MEASURED, BY_EVENT] = [1000, 250];
const TRIES = 3;
/** Addresses of the world. */
const CALLERS = ['192.0.2.101', '192.0.2.102', '192.0.2.103'] as const;

const RULES = `set bad = { }
rule bytes   when remote.port 7101 and bytes.in > 20kB -> slow
rule packets when remote.port 7102 and packets.out >= 20 -> slow
rule ratio   when remote.port 7103 and ratio > 3 -> slow
rule size    when remote.port 7104 and size > 900B -> slow
rule old     when remote.port 7105 and age > 1s -> slow
rule idle    when remote.port 7106 and idle > 1s -> slow
rule rate    when remote.port 7107 and rate.in over 1s > 100kbit -> slow
rule state   when remote.port 7108 and tcp.state established -> slow
rule flows   when remote.port 7109 and count(flows by remote.port) > 3 -> slow
rule peers   when origin remote and local.port 7110 and count(peers by local.port) > 2 -> slow
rule held    when remote.port 7111 and packets >= 2 for 1s -> slow
rule leaving when remote.port 7112 and packets >= 2 -> slow until idle > 1s
rule member  when remote.port 7113 and remote in bad -> slow
rule adder   when remote.port 7114 and packets >= 2 -> add remote to bad for 2s
`;

let lab: LiveLab;
beforeAll(async () => {
  lab = await LiveLab.build();
  for (let port = 7101; port <= 7115; port++)
    if (port !== 7103 && port !== 7108) await lab.worldHost.serve('udp', WORLD, port);
  await lab.worldHost.sink(WORLD, 7103);
  await lab.worldHost.serve('tcp', WORLD, 7108);
  await lab.boxHost.serve('udp', BOX, 7110);
  await lab.world.batch(...CALLERS.map((address) => `address add ${address}/24 dev up0`));
});
afterAll(() => lab.close());

async function run(rules = RULES): Promise<void> {
  await lab.run(policyOf(rules));
  turns = lab.turns();
}

let turns: readonly Turn[];
let ports = 10_000;

/** The box asks a port of the world, from a port of its own. */
const ask = (port: number, from: number, size = 100, count = 2) =>
  lab.boxHost.ask({ transport: 'udp', address: WORLD, port, size, times: count, from });

/** Waits until the mark of a flow says a queue; ms since `since`, which may be yet to come. */
async function turned(from: number, queue: string, since: number): Promise<number> {
  const turn = await soon(() => {
    const last = turns.findLast((one) => one.from === from);
    if (last?.queue !== queue) throw new Error(`port ${from} has come to ${last?.queue ?? 'nothing'}`);
    return last;
  });
  return turn.at - since;
}

/** Tries some things again and again, each with a port that is its own; each gives the times that it has a name for. */
async function measure(names: readonly string[], limit: number, attempt: (from: number) => Promise<readonly number[]>) {
  const tries: (readonly number[])[] = [];
  for (let i = 0; i < TRIES; i++) tries.push(await attempt(ports++));
  for (const [i, what] of names.entries()) {
    const times = tries.map((one) => one[i]!).toSorted((a, b) => a - b);
    console.log(`${what}: ${times.map((ms) => ms.toFixed(0)).join(', ')} ms of ${limit}`);
    expect(times[0], what).toBeLessThan(limit);
    // It is not decided before.
    expect(times[0], what).toBeGreaterThanOrEqual(0);
  }
}

it('what is counted: bytes, packets, ratio, size', { timeout: 60_000 }, async () => {
  await run();
  for (const [what, port, size, count] of [
    ['bytes', 7101, 1000, 30],
    ['packets', 7102, 100, 20],
    ['size', 7104, 1200, 30],
  ] as const)
    await measure([what], MEASURED, async (from) => {
      await ask(port, from, 10);
      await lab.known(from);
      const began = Date.now();
      await ask(port, from, size, count);
      return [await turned(from, 'slow', began)];
    });
  await measure(['ratio'], MEASURED, async (from) => {
    const began = Date.now();
    await lab.boxHost.tell(WORLD, 7103, 1, { from });
    return [await turned(from, 'slow', began)];
  });
});

it('what goes by time: age, idle, rate, for, until, sets', { timeout: 90_000 }, async () => {
  await run();
  await measure(['age'], MEASURED, async (from) => {
    const began = Date.now();
    await ask(7105, from);
    return [await turned(from, 'slow', began + 1000)];
  });
  await measure(['idle', 'idle, taken back'], MEASURED, async (from) => {
    const began = Date.now();
    await ask(7106, from);
    const idle = await turned(from, 'slow', began + 1000);
    const again = Date.now();
    await ask(7106, from);
    return [idle, await turned(from, 'fast', again)];
  });
  await measure(['rate', 'rate, taken back'], MEASURED, async (from) => {
    const began = Date.now();
    await ask(7107, from, 1000, 30);
    const quick = await turned(from, 'slow', began);
    return [quick, await turned(from, 'fast', began + 1000)];
  });
  await measure(['for'], MEASURED, async (from) => {
    const began = Date.now();
    await ask(7111, from);
    return [await turned(from, 'slow', began + 1000)];
  });
  await measure(['until, before', 'until'], MEASURED, async (from) => {
    const began = Date.now();
    await ask(7112, from);
    return [await turned(from, 'slow', began), await turned(from, 'fast', began + 1000)];
  });
  const member = ports++;
  await measure(['a set', 'a set, taken back'], MEASURED, async (from) => {
    // It is there before, and is kept alive.
    await ask(7113, member);
    const began = Date.now();
    await ask(7114, from);
    const there = await turned(member, 'slow', began);
    // The rule would put it there again.
    await lab.box.run('conntrack', '-D', '-p', 'udp', '--orig-port-src', `${from}`);
    return [there, await turned(member, 'fast', began + 2000)];
  });
});

it('what comes by event: the TCP state, flows, peers', { timeout: 60_000 }, async () => {
  await run();
  await measure(['TCP state', 'TCP state, taken back'], BY_EVENT, async (from) => {
    const began = Date.now();
    await lab.boxHost.ask({ transport: 'tcp', address: WORLD, port: 7108, size: 100, times: 1, from, keep: true });
    const open = await turned(from, 'slow', began);
    const ended = Date.now();
    await lab.boxHost.close(from);
    return [open, await turned(from, 'fast', ended)];
  });
  const forget = (...what: string[]) => lab.box.run('conntrack', '-D', '-p', 'udp', ...what);
  await measure(['flows', 'flows, taken back'], BY_EVENT, async (first) => {
    const others = [ports++, ports++];
    for (const from of [first, ...others]) await ask(7109, from);
    const last = ports++;
    const began = Date.now();
    await ask(7109, last);
    const many = await turned(first, 'slow', began);
    await forget('--orig-port-src', `${last}`);
    const ended = await turned(last, '', 0);
    const few = await turned(first, 'fast', ended);
    await forget('--orig-port-dst', '7109');
    return [many, few];
  });
  await measure(['peers', 'peers, taken back'], BY_EVENT, async (first) => {
    const call = (address: string, from: number) =>
      lab.worldHost.ask({ transport: 'udp', address: BOX, port: 7110, size: 10, times: 1, from, source: address });
    await call(CALLERS[0], first);
    await call(CALLERS[1], ports++);
    const last = ports++;
    const began = Date.now();
    await call(CALLERS[2], last);
    const many = await turned(first, 'slow', began);
    await forget('--orig-port-src', `${last}`);
    const ended = await turned(last, '', 0);
    const few = await turned(first, 'fast', ended);
    await forget('--orig-port-dst', '7110');
    return [many, few];
  });
});

it('the clock', { timeout: 60_000 }, async () => {
  // Its minutes are made to come: each try has one of its own.
  const start = new Date();
  start.setSeconds(0, 0);
  const at = (minutes: number) => start.getTime() + minutes * 60_000;
  const text = (minutes: number) => new Date(at(minutes)).toTimeString().slice(0, 5);
  const windows = Array.from({ length: TRIES }, (_, i) => `${text(10 + 4 * i)}-${text(12 + 4 * i)}`);
  await lab.box.run('sysctl', '-qw', 'net.netfilter.nf_conntrack_udp_timeout=600');
  await run(`rule night when remote.port 7115 and time in { ${windows.join(', ')} } -> slow`);
  const from = ports++;
  await ask(7115, from);
  await lab.known(from);
  let minute = 10;
  let ahead = 0;
  /** Goes on to half a second before the minute; when that is, by the real clock. */
  const goTo = (minutes: number): number => {
    const step = at(minutes) - 500 - (Date.now() + ahead);
    lab.pass(step);
    ahead += step;
    return at(minutes) - ahead;
  };
  await measure(['clock', 'clock, taken back'], MEASURED, async () => {
    const inside = await turned(from, 'slow', goTo(minute));
    const outside = await turned(from, 'fast', goTo(minute + 2));
    minute += 4;
    return [inside, outside];
  });
});
