// Whose bits of the mark are whose: `headgate up` beside others who use marks. Shown on the machine's own kernel (6.18).

import { afterEach, beforeEach, describe, expect, it } from 'vitest';
import { Gateway, WORLD } from './gateway.ts';
import { RULES, writePolicy } from './marks-lab.ts';
import { soon } from './soon.ts';

let gateway: Gateway;
beforeEach(async () => {
  gateway = await Gateway.build();
});
afterEach(() => gateway.close());

const policyFile = (rules: string): Promise<string> => writePolicy(gateway.folder, rules);
const nft = (text: string) => gateway.box.feed(text, 'nft', '-f', '-');
const rule = (text: string) =>
  nft(
    `table inet fw {\n  chain c {\n    type filter hook prerouting priority mangle; policy accept;\n    ${text}\n  }\n}\n`,
  );
const marksOf = async (): Promise<string> => gateway.box.run('conntrack', '-L', '-p', 'udp');
const says = (text: string, message: string): boolean => text.includes('"warning"') && text.includes(message);

describe('which bits are taken', () => {
  it('others than the default where somebody uses that, and down clears those, also after kill -9', async () => {
    // As Calico's, whose documented mask it is; a chain's name is its trace.
    await nft('table inet t {\n  chain cali-PREROUTING {\n  }\n}\n');
    await rule('ct state new ct mark set ct mark and 0x0000ffff or 0x01230000');
    await gateway.serve(gateway.world, 'udp', WORLD, 5000);
    const program = await gateway.up(await policyFile(RULES.five));
    expect(program.output.find((line) => line.includes('"ready"'))).toContain('"marks":"0x0000fe00"');
    await gateway.ask(gateway.inside, 'udp', WORLD, 5000, 200, 6000);
    // special is the fourth queue.
    expect(await marksOf()).toContain(`mark=${0x01230000 + (4 << 9)}`);
    expect((await gateway.link()).download!.packets.marked).toBe(1);
    expect(await gateway.status()).toMatchObject({ marks: '0x0000fe00', service: { marks: '0x0000fe00' } });

    await program.stop('SIGKILL');
    expect((await gateway.headgate('status')).stdout).toContain('marks 0x0000fe00');
    expect((await gateway.headgate('down')).status).toBe(0);
    expect(await marksOf()).toContain(`mark=${0x01230000} `);
  });

  it.each([
    ['nft', 'ct state new meta mark set 0x5 ct mark set meta mark << 24'],
    ['iptables', '--save-mark --nfmask 0xff --ctmask 0xff --left-shift-mark 24'],
  ])('none that somebody shifts his own into (%s)', async (tool, what) => {
    if (tool === 'nft') await rule(what);
    else {
      const add = (...args: string[]) => gateway.box.run('iptables-nft', '-t', 'mangle', '-A', 'PREROUTING', ...args);
      await add('-j', 'MARK', '--set-mark', '5');
      await add('-m', 'conntrack', '--ctstate', 'NEW', '-j', 'CONNMARK', ...what.split(' '));
    }
    await gateway.serve(gateway.world, 'udp', WORLD, 5000);
    await gateway.ask(gateway.inside, 'udp', WORLD, 5000, 200, 6001);
    expect(await marksOf()).toContain(`mark=${0x05000000} `);
    await gateway.up(await policyFile(RULES.five));
    await gateway.ask(gateway.inside, 'udp', WORLD, 5000, 200, 6000);
    const { marks } = await gateway.status();
    expect(Number(marks) & 0xff000000).toBe(0);
    expect((await gateway.headgate('down')).status).toBe(0);
    expect((await marksOf()).match(/ mark=\d+/g)).toEqual([` mark=${0x05000000}`, ` mark=${0x05000000}`]);
  });

  it('is said to be uncertain where a rule on marks is not understood, and what nobody knows any more is left alone', async () => {
    await nft(
      'table inet fw {\n  map m { type ipv4_addr : mark; flags dynamic; }\n  chain c {\n    update @m { ip saddr : ct mark }\n  }\n}\n',
    );
    await gateway.serve(gateway.world, 'udp', WORLD, 5000);
    const program = await gateway.up(await policyFile(RULES.five));
    await program.line((line) => says(line, 'nft table inet fw chain c, which is not understood: update @m'));
    await gateway.ask(gateway.inside, 'udp', WORLD, 5000, 200, 6000);
    await program.stop('SIGKILL');
    await gateway.box.run('nft', 'delete', 'table', 'inet', 'headgate');
    expect((await gateway.headgate('down')).status).toBe(0);
    expect(await marksOf()).toContain(`mark=${4 << 24} `);
  });

  it('the same again after a crash, so that flows keep their class; other ones are cleared first', async () => {
    await gateway.serve(gateway.world, 'udp', WORLD, 5000);
    await (await gateway.up(await policyFile(`marks 0x00fe0000\n${RULES.five}`))).stop('SIGKILL');
    await gateway.ask(gateway.inside, 'udp', WORLD, 5000, 200, 6000);
    expect(await marksOf()).toContain(`mark=${4 << 17}`);
    await (await gateway.up(await policyFile(RULES.five))).stop('SIGKILL');
    expect(await gateway.status()).toMatchObject({ marks: '0x00fe0000' });
    await gateway.up(await policyFile(`marks 0x7f000000\n${RULES.five}`));
    await soon(async () => expect(await marksOf()).toContain(`mark=${4 << 24} `));
  });

  it('those of the policy are refused with the name of whom they would hit, and nothing is changed', async () => {
    await gateway.box.run('ip', 'rule', 'add', 'pref', '5210', 'fwmark', '0x80000/0xff0000', 'table', 'main');
    await nft('table ip filter {\n  chain ts-forward {\n    meta mark and 0xff0000 == 0x40000 accept\n  }\n}\n');
    const before = await gateway.snapshot();
    const exit = await gateway.headgate('up', await policyFile('marks 0x00fe0000\n'));
    expect(exit.status).toBe(4);
    expect(exit.stderr).toContain(
      '0x00fe0000 of the mark, which the policy asks for, are used by Tailscale (0x00ff0000)',
    );
    expect(exit.stderr).toContain('marks 0x7f000000 is free');
    expect(await gateway.snapshot()).toBe(before);
  });

  it('who compares whole marks is not fooled, unless the policy says that it may be', async () => {
    await rule('ct mark 0x5 drop');
    const before = await gateway.snapshot();
    const exit = await gateway.headgate('up', await policyFile(RULES.five));
    expect(exit).toMatchObject({
      status: 4,
      stderr: expect.stringContaining('nft table inet fw (0x00000005) compares'),
    });
    expect(await gateway.snapshot()).toBe(before);
    const told = await gateway.up(await policyFile(`marks 0x7f000000\n${RULES.five}`));
    await told.line((line) => says(line, 'nft table inet fw compares the whole mark'));
    // What marks nothing fools nobody.
    await told.stop('SIGTERM');
    const silent = await gateway.up(await policyFile(RULES.none));
    expect(silent.output.filter((line) => line.includes('compares'))).toEqual([]);
  });

  it('a reload keeps them, says no to others, and warns of who has come since', async () => {
    const program = await gateway.up(await policyFile(RULES.none));
    await rule('ct mark set ct mark and 0x00ffffff or 0x11000000');
    await policyFile(`marks 0x00fe0000\n${RULES.five}`);
    const refused = await gateway.headgate('reload');
    expect(refused).toMatchObject({ status: 1, stderr: expect.stringContaining('it has other marks') });
    await policyFile(`marks 0x7f000000\n${RULES.five}`);
    expect((await gateway.headgate('reload')).status).toBe(0);
    await program.line((line) => says(line, 'nft table inet fw uses our bits 0x7f000000 of the mark by now'));
    expect(await gateway.status()).toMatchObject({ marks: '0x7f000000' });
  });

  it('what nobody knows any more is left alone where somebody else may have it', async () => {
    await gateway.serve(gateway.world, 'udp', WORLD, 5000);
    await (await gateway.up(await policyFile(RULES.five))).stop('SIGKILL');
    await gateway.box.run('nft', 'delete', 'table', 'inet', 'headgate');
    await rule('ct state new ct mark set ct mark and 0x00ffffff or 0x11000000');
    await gateway.ask(gateway.inside, 'udp', WORLD, 5000, 200, 6000);
    expect((await gateway.headgate('down')).status).toBe(0);
    expect(await marksOf()).toContain(`mark=${0x11000000} `);
  });
});
