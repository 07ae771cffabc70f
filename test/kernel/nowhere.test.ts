// What an admin is told of a redirect that nobody watches any more, and of what `up` would say no to. Shown on the machine's own
// kernel (6.18: cls_bpf, HTB, TBF).

import { readFile, writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { afterAll, beforeAll, expect, it } from 'vitest';
import { Gateway } from './gateway.ts';
import { soon } from './soon.ts';

let gateway: Gateway;
let file: string;
beforeAll(async () => {
  gateway = await Gateway.build();
  file = join(gateway.folder, 'here.gate');
  await writeFile(
    file,
    `link wan { device wan  download 9mbit  upload 8mbit }
queue all { share 50% }
default local -> all  remote -> all  new -> all
`,
  );
});
afterAll(() => gateway.close());

it('status and doctor say that what arrives is lost, until recover', async () => {
  for (const fault of ['link set hg-wan down', 'link del hg-wan']) {
    const up = await gateway.up(file);
    expect((await gateway.status()).links).toMatchObject([{ downloadLost: false }]);
    await gateway.killUnguarded(up);
    await gateway.box.batch(fault);
    const status = await gateway.headgate('status');
    expect(status.stdout).toMatch(
      /warning: what arrives on wan is redirected to an ifb that is down or gone, and lost/,
    );
    const doctor = await gateway.headgate('doctor');
    expect(doctor.stdout).toMatch(/what arrives on wan is redirected by us to an ifb that is down or gone/);
    expect(await gateway.headgate('recover')).toMatchObject({ status: 0 });
    expect((await gateway.status()).links.filter(({ downloadLost }) => downloadLost)).toEqual([]);
    expect(await gateway.ping(3)).toBe(0);
    await gateway.headgate('down');
  }
});

it('plan says what up would refuse, and which device is not there', async () => {
  await gateway.box.run('tc', ...'qdisc add dev lan root tbf rate 9mbit burst 9k latency 9ms'.split(' '));
  const there = await gateway.headgate('plan', file, '--device', 'lan', '--json');
  expect(JSON.parse(there.stdout).obstacles).toEqual([expect.stringMatching(/^up would refuse: .*lan.*tbf/)]);
  const copies = join(gateway.folder, 'copies.gate');
  await writeFile(copies, `${await readFile(file, 'utf8')}rule look when udp -> all, mirror to spy\n`);
  await gateway.box.batch('link add spy type veth peer name spy0');
  const taken = await gateway.headgate('plan', copies, '--json');
  expect(JSON.parse(taken.stdout).obstacles).toEqual([expect.stringMatching(/^up would refuse: .*spy/)]);
  const clean = await gateway.headgate('plan', file, '--json');
  expect(JSON.parse(clean.stdout).obstacles).toEqual([]);
  await gateway.up(file);
  const reload = await gateway.headgate('plan', copies, '--json');
  expect(JSON.parse(reload.stdout).obstacles).toEqual([expect.stringMatching(/^reload would refuse: .*spy/)]);
  await gateway.box.batch('link set wan name wan9');
  await soon(async () => expect((await gateway.status()).links).toMatchObject([{ state: 'absent' }]));
  const absent = await gateway.headgate('plan', file);
  expect(absent.stdout).toMatch(/^! There is no device wan: its link is made when it comes/m);
  expect(absent.stdout).not.toContain('nothing to do');
});
