// `headgate reload` compares what is in the kernel with what was made, and puts back what somebody has changed, whether or
// not the policy is another one. Shown on the machine's own kernel (6.18: cls_bpf, HTB, bfifo, tbf).

import { writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { afterEach, beforeEach, expect, it } from 'vitest';
import { listBuilt } from '../../src/apply/index.ts';
import { Gateway } from './gateway.ts';
import { soon } from './soon.ts';

const policy = (seed = 'share 10%') => `link wan { device wan  download 50mbit  upload 20mbit }
queue mine { share 50% }
queue theirs { share 30%
  queue new { share 20% }
  queue slow { share 50%  leaf tbf }
}
queue seed { ${seed} }
rule slow when udp and remote.port 9 -> slow
default local -> mine  remote -> seed  new -> new
`;

let gateway: Gateway;
let file: string;
beforeEach(async () => {
  gateway = await Gateway.build();
  file = join(gateway.folder, 'test.gate');
  await writeFile(file, policy());
});
afterEach(() => gateway.close());

const there = async (): Promise<string[]> => {
  const built = await listBuilt({ devices: ['wan'], ifbs: ['hg-wan'] }, (argv) => gateway.box.run(...argv));
  return [...built].flat().join('\n').split('\n');
};
const tc = (command: string) => gateway.box.run('tc', ...command.split(' '));
const reload = () => gateway.headgate('reload');

it('what somebody has changed of a tree, with no packet lost, and also where another queue changes', async () => {
  await writeFile(file, policy('share 15%'));
  let program = await gateway.up(file);
  const other = await there();
  await program.stop('SIGTERM');
  await writeFile(file, policy());
  program = await gateway.up(file);
  const log = [...program.output];
  program.onLine((line) => log.push(line));
  const whole = await there();

  const changes: readonly [how: string, command: string][] = [
    ['rates', 'class change dev hg-wan parent 7fe0:100 classid 7fe0:1 htb rate 1mbit ceil 2mbit'],
    ['the whole rate', 'class change dev wan parent 7fe1:0 classid 7fe1:100 htb rate 1mbit ceil 1mbit'],
    ['a limit', 'qdisc change dev hg-wan parent 7fe0:1 handle 7f01: bfifo limit 3000'],
    ['a bucket', 'qdisc change dev wan parent 7fe1:3 handle 7f03: tbf rate 9mbit burst 20k limit 90k'],
    ['another leaf', 'qdisc replace dev hg-wan parent 7fe0:4 handle 1: pfifo'],
  ];
  for (const [how, command] of changes) {
    await tc(command);
    expect([how, await there()]).not.toEqual([how, whole]);
    const pinging = gateway.ping(20);
    expect([how, await reload()]).toMatchObject([how, { status: 0, stderr: '' }]);
    expect([how, await pinging, await there()]).toEqual([how, 0, whole]);
  }
  await soon(() =>
    expect(log.join('\n')).toMatch(
      /the tree on hg-wan, it is put back: class 7fe0:1: .*rate 1Mbit -> 25Mbit, ceil 2Mbit -> 50Mbit/,
    ),
  );
  // What stands below another class is lost from there.
  await tc('class del dev hg-wan classid 7fe0:4');
  await tc('class add dev hg-wan parent 7fe0:1 classid 7fe0:4 htb rate 1mbit').catch(() => {});
  expect(await reload()).toMatchObject({ status: 0, stderr: '' });
  expect(await there()).toEqual(whole);

  for (const [, command] of changes) await tc(command);
  await writeFile(file, policy('share 15%'));
  expect(await reload()).toMatchObject({ status: 0, stderr: '' });
  expect(await there()).toEqual(other);
  expect(await gateway.ping(5)).toBe(0);
});

it('nothing of what was not changed: it goes on counting, and a class that somebody added stays', async () => {
  await gateway.up(file);
  await tc('class add dev hg-wan parent 7fe0:100 classid 7fe0:77 htb rate 1mbit');
  expect(await gateway.ping(5)).toBe(0);
  const counts = () => tc('-s class show dev hg-wan');
  const before = await counts();
  expect(before).toMatch(/class htb 7fe0:77/);
  expect(await reload()).toMatchObject({ status: 0, stderr: '' });
  const tokens = / c?tokens: \S+|(rate|backlog) .*$|lended.*$/gm;
  expect((await counts()).replace(tokens, '')).toBe(before.replace(tokens, ''));
});
