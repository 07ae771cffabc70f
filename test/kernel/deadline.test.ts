// The deadline in the classifier of `bpf` and in nft's set of `map`, renewed by the service: where that is stopped, killed, or
// waits to be confirmed, packets come to pass untouched. Real processes under traffic, on the machine's own kernel (6.18:
// cls_bpf, nft fwd, HTB, bfifo).

import { writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { afterEach, beforeEach, describe, expect, it, vi } from 'vitest';
import {
  DEADLINE_MAP,
  getBpfCounters,
  getBpfValue,
  listFilters,
  VERDICT_MAP,
  VERDICTS,
  type Verdict,
  verdictsOf,
} from '../../src/kernel/index.ts';
import { DEFAULT_DEADLINE_MS } from '../../src/service/index.ts';
import { Gateway } from './gateway.ts';
import { PATIENCE, soon } from './soon.ts';

const POLICY = (download: string) => `link wan { device wan  download ${download}  upload 20mbit }
queue mine { share 70% }  queue theirs { share 10% }
default local -> mine  remote -> theirs  new -> theirs
`;
/** Long enough for a busy machine to renew it, which it tries four times in it. */
const SECONDS = 4 * PATIENCE;

// A machine that is busy takes a minute.
vi.setConfig({ testTimeout: 240_000 * PATIENCE });

let gateway: Gateway;
let file: string;
beforeEach(async () => {
  gateway = await Gateway.build();
  file = join(gateway.folder, 'test.gate');
  await writeFile(file, POLICY('50mbit'));
});
afterEach(() => gateway.close());

interface Classifier {
  /** Ms; undefined: never. */
  readonly expires: number | undefined;
  readonly packets: Readonly<Record<Verdict, number>>;
}

/** Both ways, as the kernel has them: a service that hangs is not waited for. */
const classifiers = (): Promise<readonly Classifier[]> =>
  Promise.all(
    ['ingress', '7fe1:'].map(async (parent) => {
      const [filter] = await listFilters('wan', parent, { netns: gateway.box.name });
      const program = filter!.programId!;
      const deadline = getBpfValue(program, DEADLINE_MAP)!;
      const expires = deadline === 0n ? undefined : Number(deadline - process.hrtime.bigint()) / 1e6;
      return { expires, packets: verdictsOf(getBpfCounters(program, VERDICT_MAP, VERDICTS.length)) };
    }),
  );
const both = (has: (expires: number | undefined) => boolean) => async () =>
  expect((await classifiers()).map(({ expires }) => has(expires))).toEqual([true, true]);
// The classifier's clock is a tick behind.
const expired = both((ms) => ms !== undefined && ms < -20);
const renewed = both((ms) => ms !== undefined && ms > 0);
const never = both((ms) => ms === undefined);

/** Packets of echo requests there and back that were classified, and that were not, on both ways. */
async function passing(): Promise<{ classified: number; untouched: boolean }> {
  const before = await classifiers();
  expect(await gateway.ping(5)).toBe(0);
  const after = await classifiers();
  const sum = (of: readonly Classifier[], names: readonly Verdict[]) =>
    of.reduce((total, { packets }) => total + names.reduce((n, name) => n + packets[name], 0), 0);
  const count = (...names: Verdict[]) => sum(after, names) - sum(before, names);
  // Untouched is then what is left alone otherwise, too.
  return { classified: count('local', 'remote', 'new', 'marked'), untouched: count('expired') >= 10 };
}

describe('the deadline', () => {
  it('passes while the service hangs, and its packets unshaped; it is renewed when that goes on, reloads, and starts again', async () => {
    let program = await gateway.up(file, '--deadline', `${SECONDS}s`);
    const { service } = await gateway.status();
    expect(service!.deadline).toMatchObject({ ms: SECONDS * 1000 });
    expect((await gateway.headgate('status')).stdout).toMatch(
      new RegExp(`^classifies for ${SECONDS} s after it was last heard of; renewed \\d+ times$`, 'm'),
    );
    await renewed();
    expect(await passing()).toEqual({ classified: 10, untouched: false });
    await soon(async () => expect((await gateway.status()).service!.deadline!.renewals).toBeGreaterThan(2));

    process.kill(program.pid!, 'SIGSTOP');
    await soon(expired);
    expect(await passing()).toEqual({ classified: 0, untouched: true });
    expect(await gateway.headgate('status')).toMatchObject({
      status: 0,
      stdout: expect.stringMatching(/warning: nobody renews the deadline of download: its packets pass unshaped$/m),
    });
    process.kill(program.pid!, 'SIGCONT');
    await soon(renewed);
    expect(await passing()).toEqual({ classified: 10, untouched: false });

    await writeFile(file, POLICY('40mbit'));
    expect((await gateway.headgate('reload')).status).toBe(0);
    await soon(renewed);

    await program.stop('SIGKILL');
    await soon(expired);
    expect(await gateway.ping(5)).toBe(0);
    // In place, and for ever: nobody is there to renew it afterwards.
    program = await gateway.up(file, '--keep');
    await never();
    expect(await passing()).toEqual({ classified: 10, untouched: false });
  });

  it('is not moved on beyond the time to confirm', async () => {
    const program = await gateway.up(file, '--keep', '--confirm', `${5 * SECONDS}s`);
    await soon(renewed);
    await program.stop('SIGKILL');
    await vi.waitFor(expired, { timeout: 60_000 * PATIENCE, interval: 500 });
    expect(await gateway.ping(5)).toBe(0);
  });

  it('is one of map, too: what arrives passes, also with its ifb gone; renewed, it is steered again', async () => {
    const before = await gateway.snapshot();
    const program = await gateway.up(file, '--datapath', 'map', '--deadline', `${SECONDS}s`);
    const nft = (...argv: string[]) => gateway.box.run('nft', ...argv);
    const left = async () => expect(await nft('list', 'set', 'netdev', 'headgate', 'taken'));
    const expired = async () => (await left()).not.toContain('elements');
    const renewed = async () => (await left()).toMatch(/ip6 timeout \S+ expires/);
    /** Answers that nft has forwarded to the ifb, of five. */
    const forwarded = async (lost = 0) => {
      const count = async () => {
        const listed = await nft('list', 'chain', 'netdev', 'headgate', 'arrive-wan');
        return Number(/counter packets (\d+) .* fwd to/.exec(listed)![1]);
      };
      const was = await count();
      expect(await gateway.ping(5)).toBe(lost);
      return (await count()) - was;
    };
    await renewed();
    expect(await forwarded()).toBe(5);
    expect((await gateway.link()).download!.expires).toBeGreaterThan(0);

    process.kill(program.pid!, 'SIGSTOP');
    await soon(expired);
    expect(await forwarded()).toBe(0);
    expect((await gateway.headgate('status')).stdout).toMatch(/warning: nobody renews the deadline of download:/);
    process.kill(program.pid!, 'SIGCONT');
    await soon(renewed);
    expect(await forwarded()).toBe(5);
    await writeFile(file, POLICY('40mbit'));
    expect((await gateway.headgate('reload')).status).toBe(0);
    await soon(renewed);

    await gateway.killUnguarded(program);
    await gateway.box.batch('link del hg-wan');
    expect(await forwarded(5)).toBe(5);
    await soon(expired);
    expect(await forwarded()).toBe(0);
    expect((await gateway.headgate('doctor')).stdout).toContain(
      'what arrives on wan is redirected by us to an ifb that is down or gone, and lost',
    );
    expect((await gateway.headgate('recover')).stdout).toContain('what arrives on wan led nowhere');
    expect(await gateway.snapshot()).toBe(before);

    await gateway.up(file, '--datapath', 'map', '--keep');
    (await left()).toMatch(/elements = \{ ip,/);
  });

  it.each(['bpf', 'map'])('of %s comes after recover, too, which has made the redirect anew', async (datapath) => {
    const program = await gateway.up(file, '--datapath', datapath);
    await writeFile(
      file,
      POLICY('40mbit').replaceAll('theirs', 'seed').replace('queue seed', 'queue third { share 5% }  queue seed'),
    );
    expect((await gateway.headgate('reload', '--confirm', '1h')).status).toBe(0);
    await program.stop('SIGKILL');
    expect((await gateway.headgate('recover')).stdout).toContain('the policy before it is in force');
    if (datapath === 'bpf') await both((ms) => ms !== undefined && ms <= DEFAULT_DEADLINE_MS)();
    else
      expect(await gateway.box.run('nft', 'list', 'set', 'netdev', 'headgate', 'taken')).toMatch(
        /ip timeout \S+ expires/,
      );
    expect(await gateway.ping(5)).toBe(0);
  });

  it.each(['0s', '999ms', '2d', '10'])('refuses %s', async (time) => {
    const exit = await gateway.headgate('up', file, '--deadline', time);
    expect(exit).toMatchObject({ status: 2, stderr: expect.stringContaining(`--deadline ${time}: write a duration`) });
  });
});
