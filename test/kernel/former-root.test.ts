// `replace root-qdisc`: a root qdisc that somebody else chose makes room for the upload's, and is there again afterwards, to the
// last option: after the end, a reload, a failure or kill -9 at any step of `up`, or when a reload puts it back, also with the state folder lost. Shown on the machine's
// own kernel (6.18: cls_bpf, HTB, tbf, bfifo, pfifo); sfq, fq, fq_codel and cake are not there.

import { writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { afterEach, beforeEach, describe, expect, it, vi } from 'vitest';
import { Faults } from './faults.ts';
import { exitOf, Gateway, HEADGATE } from './gateway.ts';
import { PATIENCE, soon } from './soon.ts';

const policy = (upload: string) => `link wan { device wan  download 50mbit  ${upload} }
queue q { share 50% }
default local -> q  remote -> q  new -> q
`;
const UPLOAD = 'upload 20mbit  replace root-qdisc';
/** Options that tc does not tell in whole words. */
const TBF = 'tbf rate 1234567bit burst 15k latency 50ms';

vi.setConfig({ testTimeout: 120_000 * PATIENCE });

let gateway: Gateway;
let file: string;
beforeEach(async () => {
  gateway = await Gateway.build();
  file = join(gateway.folder, 'test.gate');
  await writeFile(file, policy(UPLOAD));
});
afterEach(() => gateway.close());

const tc = (...words: string[]) => gateway.box.run('tc', ...words.flatMap((word) => word.split(' ')));
const root = async (device = 'wan') =>
  (await tc(`-raw -details qdisc show dev ${device} root`)).replace(/ refcnt \d+/, '');
const choose = (qdisc: string) => tc(`qdisc replace dev wan root handle 5: ${qdisc}`);
const down = () => gateway.headgate('down');

describe('a root qdisc that somebody chose', () => {
  it('makes room, and is put back: at the end, when the device has another name, and by a reload without upload', async () => {
    await choose(TBF);
    const before = await gateway.snapshot();
    const was = await root();
    await writeFile(file, policy('upload 20mbit'));
    expect(await gateway.headgate('up', file)).toMatchObject({
      status: 4,
      stderr: expect.stringContaining('replace root-qdisc'),
    });
    expect(await gateway.snapshot()).toBe(before);

    await writeFile(file, policy(UPLOAD));
    const program = await gateway.up(file);
    expect(await root()).toMatch(/^qdisc htb 7fe1:/);
    expect(await root('hg=wan')).toBe(was);

    await writeFile(file, policy(''));
    expect((await gateway.headgate('reload')).status).toBe(0);
    await soon(async () => expect(await root()).toBe(was));
    expect(await gateway.box.run('ip', 'link')).not.toContain('hg=wan');
    await writeFile(file, policy(UPLOAD));
    expect(await gateway.headgate('reload')).toMatchObject({ status: 0 });
    expect(await root()).toMatch(/^qdisc htb 7fe1:/);

    await gateway.box.batch('link set wan name dsl');
    await soon(async () => expect(await root('dsl')).toBe(was));
    await gateway.box.batch('link set dsl name wan');
    await soon(async () => expect(await gateway.link()).toMatchObject({ state: 'steering', uploadLost: false }));
    await gateway.box.batch(`route replace default via 192.0.2.2`);

    // Who chooses another one while it runs is not taken for who chose the first.
    await choose('pfifo limit 7');
    await soon(async () => expect(await gateway.link()).toMatchObject({ uploadLost: true }));
    await tc('qdisc del dev wan root');
    await soon(async () => expect(await root()).toMatch(/^qdisc htb 7fe1:/));
    expect((await program.stop('SIGTERM')).status).toBe(0);
    expect(await gateway.snapshot()).toBe(before);
  });

  it.each([TBF, 'bfifo limit 33333', 'pfifo limit 33'])(
    '%s is put back after kill -9, with the state folder lost',
    async (qdisc) => {
      await choose(qdisc);
      const before = await gateway.snapshot();
      await (await gateway.up(file)).stop('SIGKILL');
      // Another device has its name now.
      await gateway.box.batch('link set wan down', 'link set wan name dsl', 'link add wan type ifb');
      expect(await gateway.forgetful('down')).toMatchObject({
        status: 0,
        stdout: expect.stringContaining('put back the root qdisc'),
      });
      await gateway.box.batch('link del wan', 'link set dsl name wan', 'link set wan up');
      await gateway.box.batch(`route replace default via 192.0.2.2`);
      expect(await gateway.snapshot()).toBe(before);
    },
  );

  it('is refused with the reason where it could not be put back', async () => {
    const said = async () => {
      const before = await gateway.snapshot();
      const exit = await gateway.headgate('up', file);
      expect(exit.status).toBe(4);
      expect(await gateway.snapshot()).toBe(before);
      return exit.stderr;
    };
    await choose('htb');
    expect(await said()).toContain('htb 5: (of a kind that cannot be put back)');
    await tc('qdisc del dev wan root');
    await choose('tbf rate 1mbit burst 15k latency 50ms peakrate 2mbit mtu 1540');
    expect(await said()).toContain('tbf 5: (its mtu cannot be put back)');
    await choose(TBF);
    await tc('qdisc add dev wan parent 5:1 handle 6: pfifo limit 9');
    expect(await said()).toContain('tbf 5: (other qdiscs stand below it)');
    await tc('qdisc del dev wan root');
    await choose('pfifo limit 9');
    await gateway.box.batch('link add hg=wan type ifb');
    expect(await said()).toContain('a device named hg=wan exists and is not ours');
    await gateway.box.batch('link del hg=wan');
    await tc('qdisc del dev wan root');
    await tc('qdisc add dev wan root handle 5: stab linklayer ethernet overhead 18 pfifo limit 9');
    expect(await gateway.headgate('up', file)).toMatchObject({
      status: 5,
      stderr: expect.stringContaining('"overhead":18'),
    });
    expect(await root()).toContain('pfifo 5:');
    await down();
  });
});

describe('up', () => {
  it.each(['fails', 'dies before', 'dies after'] as const)(
    '%s a step: it is back',
    async (fault) => {
      const faults = await Faults.build(gateway.folder);
      await choose(TBF);
      const before = await gateway.snapshot();
      for (let step = 1, through = false; !through; step++) {
        await faults.set(fault, step);
        const program = gateway.start([file], faults.path);
        through = await gateway.isThrough(program);
        await faults.clear();
        if (through) await program.stop('SIGTERM');
        else if (fault !== 'fails') expect((await gateway.headgate('recover')).status).toBe(0);
        await program.ended;
        expect(await gateway.snapshot()).toBe(before);
        expect(step).toBeLessThan(40);
        if (through) expect(step).toBeGreaterThan(6);
      }
    },
    240_000,
  );
});

describe('a reload without upload', () => {
  const BACK = 'tc qdisc add dev wan root handle 5:';
  const copies = async () => (await gateway.box.run('ip', '-o', 'link')).includes('hg=wan');

  it('that is refused, or killed, when it puts it back: the copy stays until it is back', async () => {
    const faults = await Faults.build(gateway.folder);
    await choose(TBF);
    const before = await gateway.snapshot();
    const was = await root();
    const up = async () => {
      await writeFile(file, policy(UPLOAD));
      const program = await gateway.upIn([faults.path], file);
      await writeFile(file, policy(''));
      return program;
    };

    let program = await up();
    await faults.set('fails', 1, BACK);
    const warned = program.line((line) => line.includes('what it keeps could not be put back'));
    expect((await gateway.headgate('reload')).status).toBe(0);
    await warned;
    expect([await root(), await root('hg=wan')]).toEqual([expect.not.stringContaining('tbf'), was]);
    expect((await program.stop('SIGTERM')).status).toBe(0);
    expect(await gateway.snapshot()).toBe(before);

    program = await up();
    await faults.set('dies before', 1, BACK);
    await gateway.headgate('reload');
    expect((await program.ended).signal).toBe('SIGKILL');
    await faults.set('fails', 1, BACK);
    expect((await exitOf(gateway.box.name, 'env', faults.path, ...HEADGATE, 'recover')).status).toBe(0);
    expect(await faults.hit()).toContain(BACK);
    expect(await root('hg=wan')).toBe(was);
    expect((await down()).status).toBe(0);
    expect(await gateway.snapshot()).toBe(before);

    program = await up();
    await faults.set('dies after', 1, BACK);
    await gateway.headgate('reload');
    expect((await program.ended).signal).toBe('SIGKILL');
    expect((await gateway.headgate('recover')).status).toBe(0);
    expect([await root(), await copies()]).toEqual([was, false]);
    expect((await down()).status).toBe(0);
    expect(await gateway.snapshot()).toBe(before);
  });
});
