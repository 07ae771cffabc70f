// kill -9, and a refusal of the kernel, at every single step of up, reload and down (strace has netlink's and bpf's killed), while packets flow: nothing is lost
// for longer than a packet, and what is there at the end is the old policy, the new one, or nothing. Shown on the
// machine's own kernel (6.18: cls_bpf, HTB, bfifo).

import { writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { afterEach, beforeEach, describe, expect, it, vi } from 'vitest';
import { type Ending, Program } from '../../src/lab/index.ts';
import { type Fault, Faults, REFUSAL } from './faults.ts';
import { type Exit, Gateway, WORLD } from './gateway.ts';
import { PATIENCE } from './soon.ts';

const OLD = `link wan { device wan  download 50mbit  upload 20mbit }
queue mine { share 70% }  queue seed { share 5% }
rule less when udp and remote.port 9 -> seed, police 1mbit
default local -> mine  remote -> seed  new -> seed
`;
const IN_PLACE = `link wan { device wan  download 40mbit  upload 10mbit }
queue mine { share 50% }  queue seed { share 5% }  queue voice { share 20%  leaf tbf }
rule look when udp and remote.port 7 -> voice, mirror to spy
default local -> mine  remote -> seed  new -> seed
`;
/** Takes an ifb beside the other, and another link that shares it. */
const BESIDE = `link wan { device wan  download 40mbit  upload 20mbit  numtxqueues 2 }
link lan { device lan  share tree with wan }
queue mine { share 70% }  queue seed { share 5% }
default local -> mine  remote -> seed  new -> seed
`;
// Each starts headgate twenty times and more.
vi.setConfig({ testTimeout: 480_000 * PATIENCE });

/** Far more than there are. */
const MOST = 40;

let gateway: Gateway;
let faults: Faults;
let file: string;
let nothing: string;
let pinging: Program;
/** Numbers of the packets that came back. */
let answered: number[];
beforeEach(async () => {
  gateway = await Gateway.build();
  faults = await Faults.build(gateway.folder);
  file = join(gateway.folder, 'test.gate');
  nothing = await gateway.snapshot();
  pinging = Program.start('ping', ['ping', '-i', '0.2', '-W', '1', WORLD], { netns: gateway.inside.name });
  answered = [];
  pinging.onLine((line) => {
    const seq = Number(/icmp_seq=(\d+)/.exec(line)?.[1]);
    if (seq) answered.push(seq);
  });
  await pinging.line((line) => line.includes('icmp_seq=1 '));
});
afterEach(() => gateway.close());

/**
 * Ends the stream of packets, one in 200 ms, TCP's least wait before it sends again: never were two in a row lost. One
 * can be: the kernel drops what leaves while it puts another root qdisc in place (dev_deactivate(), net/sched/sch_generic.c).
 */
async function expectTraffic(): Promise<void> {
  await pinging.stop('SIGINT');
  expect(answered.length).toBeGreaterThan(10);
  const gaps = answered.slice(1).map((seq, i) => seq - answered[i]! - 1);
  expect(Math.max(...gaps)).toBeLessThanOrEqual(1);
}

const there = (): Promise<string> => gateway.built();

const up = (): Promise<Program> => gateway.upIn([faults.path], file);
const recover = (): Promise<Exit> => gateway.headgate('recover', '--json');

/** How `up` ended by the fault that is set; undefined where it got through, and was ended in peace. */
async function startWithFault(...args: string[]): Promise<Ending | undefined> {
  const program = gateway.start([file, ...args], faults.path);
  if (!(await gateway.isThrough(program))) return program.ended;
  await faults.clear();
  await program.stop('SIGTERM');
  return undefined;
}

/** Does it with the fault at step 1, 2, ... until one goes through; says how many steps there were. */
async function atEachStep(fault: Fault, attempt: () => Promise<'hit' | 'through'>): Promise<void> {
  for (let step = 1; step < MOST; step++) {
    await faults.set(fault, step);
    if ((await attempt()) === 'hit') continue;
    // Of what fails, each line of a batch is a step.
    expect(step).toBeGreaterThan(fault === 'fails' ? 15 : 4);
    return;
  }
  expect.unreachable('there is no end of steps');
}

describe('killed', () => {
  it.each(['dies before', 'dies after'] as const)('up %s a step: recover leaves nothing', async (fault) => {
    await writeFile(file, OLD);
    await atEachStep(fault, async () => {
      const ending = await startWithFault();
      if (!ending) return 'through';
      expect(ending.signal).toBe('SIGKILL');
      expect((await recover()).status).toBe(0);
      expect(await gateway.snapshot()).toBe(nothing);
      return 'hit';
    });
    await expectTraffic();
    expect(await gateway.snapshot()).toBe(nothing);
  });

  it('up of map after a step: recover leaves nothing', async () => {
    await writeFile(file, OLD);
    await atEachStep('dies after', async () => {
      const ending = await startWithFault('--datapath', 'map');
      if (!ending) return 'through';
      expect(ending.signal).toBe('SIGKILL');
      expect((await recover()).status).toBe(0);
      expect(await gateway.snapshot()).toBe(nothing);
      return 'hit';
    });
    await expectTraffic();
  });

  // What headgate does without tc, ip and nft: netlink, maps of bpf, its sockets, its files of state.
  it.each<[call: string, every: number, ...follow: string[]]>([
    ['sendto', 12],
    ['bpf', 1],
    ['bind', 1],
    ['rename', 1, '-f'],
  ])('up at a call of %s (one in %i): recover leaves nothing, or, at the end, all', async (call, every, ...follow) => {
    await writeFile(file, OLD);
    const first = await up();
    const whole = await there();
    await first.stop('SIGTERM');
    const none = await there();
    const trace = join(gateway.folder, 'trace');
    const left: string[] = [];
    for (let n = 1; ; n += every) {
      const kill = ['-e', `trace=${call}`, '-e', 'signal=none', '-e', `inject=${call}:signal=KILL:when=${n}`];
      const program = gateway.start([file], 'strace', ...follow, '-qq', '-o', trace, ...kill);
      const through = await gateway.isThrough(program);
      // A signal to strace would have it let go.
      if (!through) {
        // What strace follows, it waits for: the guard, too.
        for (const pid of await gateway.guards()) process.kill(pid, 'SIGKILL');
        expect((await program.ended).signal).toBe('SIGKILL');
        expect((await recover()).status).toBe(0);
        left.push(await there());
      }
      expect((await gateway.headgate('down')).status).toBe(0);
      await program.ended;
      expect(await gateway.snapshot()).toBe(nothing);
      if (through) break;
    }
    expect(left.length).toBeGreaterThan(0);
    for (const one of left) expect([none, whole]).toContain(one);
    expect(left[0]).toBe(none);
    await expectTraffic();
  });

  it.each([
    ['dies before', 'IN_PLACE'],
    ['dies after', 'IN_PLACE'],
    ['dies before', 'BESIDE'],
    ['dies after', 'BESIDE'],
  ] as const)(
    'a reload %s a step (%s): recover brings the old policy, or finishes; up the new one',
    async (fault, kind) => {
      const next = { IN_PLACE, BESIDE }[kind];
      await writeFile(file, next);
      let program = await up();
      const fresh = await there();
      await program.stop('SIGTERM');

      await writeFile(file, OLD);
      program = await up();
      const old = await there();
      const after: string[] = [];
      for (let step = 1; ; step++) {
        await writeFile(file, next);
        await faults.set(fault, step);
        if ((await gateway.headgate('reload')).status === 0) break;
        expect((await program.ended).signal).toBe('SIGKILL');
        expect((await recover()).status).toBe(0);
        after.push((await there()) === old ? 'old' : 'new');
        expect(await there()).toBe(after.at(-1) === 'old' ? old : fresh);
        if (step % 2) {
          program = await up();
          expect(await there()).toBe(fresh);
          await program.stop('SIGTERM');
        }
        await writeFile(file, OLD);
        program = await up();
        expect(await there()).toBe(old);
      }
      await faults.clear();
      expect(after.length).toBeGreaterThan(3);
      // There is one point of no return.
      expect(after).toEqual(after.toSorted().reverse());
      expect(after).toContain('old');
      if (kind === 'BESIDE') expect(after).toContain('new');
      expect(await there()).toBe(fresh);
      expect(await program.stop('SIGTERM')).toEqual({ status: 0, signal: null });
      await expectTraffic();
      expect(await gateway.snapshot()).toBe(nothing);
    },
  );

  it.each(['dies before', 'dies after'] as const)('the way down %s a step: recover finishes it', async (fault) => {
    await writeFile(file, OLD);
    let [hits, killed] = [0, true];
    while (killed) {
      const program = await up();
      await faults.set(fault, hits + 1);
      killed = (await program.stop('SIGTERM')).signal === 'SIGKILL';
      await faults.clear();
      if (killed) hits++;
      expect((await recover()).status).toBe(0);
      expect(await gateway.snapshot()).toBe(nothing);
    }
    expect(hits).toBeGreaterThan(4);
    await expectTraffic();
  });
});

describe('started again', () => {
  const kept = async () => {
    const [{ ifindex }] = JSON.parse(await gateway.box.run('ip', '-json', 'link', 'show', 'hg-wan'));
    const sent = /class htb 7fe0:1 .*\n Sent (\d+)/.exec(
      await gateway.box.run('tc', '-s', 'class', 'show', 'dev', 'hg-wan'),
    );
    return { ifindex, bytes: Number(sent![1]) };
  };

  it('after kill -9 it goes on with what is there, and changes it in place; where that is not as it was made, it begins anew', async () => {
    await writeFile(file, OLD);
    let program = await up();
    expect(await gateway.ping(5)).toBe(0);
    const first = await kept();
    expect(first.bytes).toBeGreaterThan(0);
    for (const policy of [OLD, IN_PLACE, OLD]) {
      await program.stop('SIGKILL');
      await writeFile(file, policy);
      program = await up();
      const now = await kept();
      expect(now.ifindex).toBe(first.ifindex);
    }
    const fresh = await there();
    await gateway.box.run(
      'tc',
      'class',
      'change',
      'dev',
      'hg-wan',
      'parent',
      '7fe0:100',
      'classid',
      '7fe0:1',
      'htb',
      'rate',
      '1mbit',
    );
    await program.stop('SIGKILL');
    program = await up();
    expect((await kept()).ifindex).not.toBe(first.ifindex);
    expect(await there()).toBe(fresh);
    await program.stop('SIGTERM');
    await expectTraffic();
    expect(await gateway.snapshot()).toBe(nothing);
  });
});

describe('refused', () => {
  it.each(['bpf', 'map'])('up of %s at any step: it says why, and nothing is left', async (datapath) => {
    await writeFile(file, OLD);
    await atEachStep('fails', async () => {
      const ending = await startWithFault('--datapath', datapath);
      if (!ending) return 'through';
      expect(ending.status).toBe(5);
      expect(await gateway.snapshot()).toBe(nothing);
      return 'hit';
    });
    await expectTraffic();
  });

  it.each([
    ['IN_PLACE', 'bpf'],
    ['BESIDE', 'bpf'],
    ['IN_PLACE', 'map'],
  ] as const)('a reload at any step (%s, %s): it says why, and the old policy stays', async (kind, datapath) => {
    await writeFile(file, OLD);
    const program = await gateway.upIn([faults.path], file, '--datapath', datapath);
    const old = await there();
    await writeFile(file, { IN_PLACE, BESIDE }[kind]);
    for (let step = 1; ; step++) {
      await faults.set('fails', step);
      const { status, stderr } = await gateway.headgate('reload');
      if (status === 0) {
        await faults.clear();
        expect(step).toBeGreaterThan(3);
        break;
      }
      expect([status, stderr]).toEqual([5, expect.stringContaining(REFUSAL)]);
      expect(await there()).toBe(old);
    }
    await program.stop('SIGTERM');
    await expectTraffic();
    expect(await gateway.snapshot()).toBe(nothing);
  });
});
