// Who may ask the running service, and who may change it: with processes of other users. Shown on the machine's own
// kernel (6.18). The group is one that only the service's own /etc/group has, so nothing is added to this machine.

import { chmod, readFile, stat, writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { afterEach, beforeEach, describe, expect, it } from 'vitest';
import { getStatePath, MOST_GUESTS } from '../../src/kernel/index.ts';
import { Program } from '../../src/lab/index.ts';
import type { LinkStatus } from '../../src/service/index.ts';
import { type Exit, exitOf, Gateway, HEADGATE, INSIDE, WAN, WORLD } from './gateway.ts';
import { soon } from './soon.ts';

const GROUP = 54_321;
const MEMBER = 54_001;
const STRANGER = 54_002;

let gateway: Gateway;
let socket: string;
beforeEach(async () => {
  gateway = await Gateway.build();
  socket = await getStatePath('sock', await gateway.box.getId());
});
afterEach(() => gateway.close());

/** Starts `headgate up` where there is a group headgate of that number. */
async function upWithGroup(group = GROUP): Promise<Program> {
  const file = join(gateway.folder, 'group');
  const groups = (await readFile('/etc/group', 'utf8')).replace(/^headgate:.*\n/gm, '');
  await writeFile(file, `${groups}headgate:x:${group}:\n`);
  const script = 'mount --bind "$0" /etc/group && exec "$@"';
  return gateway.upIn(['unshare', '--mount', 'sh', '-c', script, file]);
}

// This clone may lie where they cannot read.
const RIGHT = ['--inh-caps=-all,+dac_read_search', '--ambient-caps=+dac_read_search'];
const as = (uid: number, groups: readonly number[]): [string, ...string[]] => [
  'setpriv',
  `--reuid=${uid}`,
  `--regid=${uid}`,
  groups.length > 0 ? `--groups=${groups.join()}` : '--clear-groups',
  ...RIGHT,
];
const member = (...args: string[]): Promise<Exit> =>
  exitOf(gateway.box.name, ...as(MEMBER, [4, GROUP]), ...HEADGATE, ...args);
const stranger = (...args: string[]): Promise<Exit> =>
  exitOf(gateway.box.name, ...as(STRANGER, [4]), ...HEADGATE, ...args);

/** Status and body of a request by a process of that user, with no command of ours between. */
async function request(
  who: readonly string[],
  method: string,
  path: string,
): Promise<{ status: number; body: string }> {
  const script = `require('http').request({ socketPath: '${socket}', method: '${method}', path: '${path}' }, (r) => {
    let body = ''; r.on('data', (d) => (body += d)).on('end', () => console.log(JSON.stringify({ status: r.statusCode, body })));
  }).on('error', (e) => console.log(JSON.stringify({ status: 0, body: e.code }))).end()`;
  const [tool, ...rest] = [...who, process.execPath, '-e', script];
  return JSON.parse((await exitOf(gateway.box.name, tool!, ...rest)).stdout);
}

describe('the control socket', () => {
  it('belongs to root and the group, and tells members the same status as root, and the same events', async () => {
    await gateway.serve(gateway.world, 'udp', WORLD, 5000);
    const program = await upWithGroup();
    expect(await stat(socket)).toMatchObject({ uid: 0, gid: GROUP });
    expect((await stat(socket)).mode & 0o777).toBe(0o660);

    const events: string[] = [];
    const reader = Program.start('events', [...as(MEMBER, [GROUP]), ...HEADGATE, 'events', '--json'], {
      netns: gateway.box.name,
    });
    reader.onLine((line) => events.push(line));
    await soon(async () => {
      await gateway.ask(gateway.inside, 'udp', WORLD, 5000);
      expect(events.join('\n')).toContain('"kind":"flow.new"');
    });

    const [told, toRoot] = [await member('status', '--json'), await gateway.headgate('status', '--json')];
    expect(told).toMatchObject({ status: 0, stderr: '' });
    const shape = (exit: Exit) => {
      const { service, links } = JSON.parse(exit.stdout);
      return [
        service.pid,
        service.datapath,
        links.map((link: LinkStatus) => [link.state, link.ifbs.map(({ name }) => name)]),
      ];
    };
    expect(shape(told)).toEqual(shape(toRoot));
    expect(JSON.parse(told.stdout).links[0].download.packets.local).toBeGreaterThan(0);
    expect(JSON.parse(told.stdout).links[0].download.queues.length).toBe(3);

    await program.stop('SIGTERM');
    expect((await reader.stop()).status).toBe(0);
  });

  it('lets members change nothing, and says who may', async () => {
    const program = await upWithGroup();
    for (const command of ['reload', 'confirm']) {
      const exit = await member(command, '--json');
      expect(exit).toMatchObject({ status: 3, stdout: '' });
      expect(JSON.parse(exit.stderr).error).toMatchObject({ code: 'HG_FORBIDDEN', uid: MEMBER });
    }
    const { status, body } = await request(as(MEMBER, [GROUP]), 'POST', '/reload');
    expect(status).toBe(403);
    expect(JSON.parse(body).error.hint).toMatch(
      /Root may ask and change everything; members of the group headgate may ask/,
    );
    for (const method of ['PUT', 'DELETE', 'PATCH'])
      expect((await request(as(MEMBER, [GROUP]), method, '/status')).status).toBe(403);
    // What is no address at all is no more than an unknown one.
    for (const path of ['//[', '*', 'http://[', '/%', '//'])
      expect((await request(as(MEMBER, [GROUP]), 'GET', path)).status).toBe(404);
    expect(program.output.join()).not.toContain('"kind":"policy"');
    expect(await gateway.headgate('reload')).toMatchObject({ status: 0 });
  });

  it('answers strangers nothing, not even where its mode would let them in', async () => {
    await upWithGroup();
    for (const command of ['status', 'events', 'reload']) {
      expect(await stranger(command)).toMatchObject({
        status: 3,
        stderr: expect.stringContaining(`to user ${STRANGER}`),
      });
    }
    expect(await request(as(STRANGER, []), 'GET', '/status')).toEqual({ status: 0, body: 'EACCES' });
    await chmod(socket, 0o666);
    const { status, body } = await request(as(STRANGER, []), 'GET', '/status');
    expect([status, JSON.parse(body).error.code]).toEqual([403, 'HG_FORBIDDEN']);
    // By its first group, too.
    expect(
      (await request(['setpriv', `--reuid=${STRANGER}`, `--regid=${GROUP}`, '--clear-groups'], 'GET', '/service'))
        .status,
    ).toBe(200);
  });

  it('closes what members open beyond measure, and answers root', async () => {
    await upWithGroup();
    const script = `const { connect } = require('net'); let closed = 0;
      for (let i = 0; i < ${MOST_GUESTS + 9}; i++)
        connect('${socket}').on('error', () => {}).on('close', () => { if (++closed === 9) console.log('closed'); })`;
    const opener = Program.start('opener', [...as(MEMBER, [GROUP]), process.execPath, '-e', script], {
      netns: gateway.box.name,
    });
    await opener.line((line) => line === 'closed');
    expect(await member('flows')).toMatchObject({ status: 6 });
    expect(await gateway.headgate('flows')).toMatchObject({ status: 0 });
    await opener.stop();
    await soon(async () => expect(await member('flows')).toMatchObject({ status: 0 }));
  });

  it('is for root alone where there is no such group', async () => {
    await gateway.up();
    expect((await stat(socket)).mode & 0o777).toBe(0o600);
    expect(await member('status')).toMatchObject({ status: 3 });
    expect(await request(['env'], 'GET', '/nowhere')).toMatchObject({ status: 404 });
    expect(await request(['env'], 'POST', '/reload?confirm=soon')).toMatchObject({ status: 409 });
  });

  it('says that nothing runs, to whoever asks', async () => {
    for (const command of ['events', 'reload', 'confirm']) expect(await stranger(command)).toMatchObject({ status: 6 });
    expect(await stranger('status')).toMatchObject({ status: 3, stderr: expect.stringContaining('this needs root') });
  });
});

describe('explain --live', () => {
  it('tells of a flow by its ends, its rule, its queue and its mark', async () => {
    await gateway.serve(gateway.world, 'udp', WORLD, 5000);
    await gateway.serve(gateway.inside, 'udp', INSIDE, 51413);
    const file = join(gateway.folder, 'test.gate');
    await writeFile(
      file,
      `link wan { device wan  download 50mbit  upload 50mbit }
queue mine { share 60% }  queue new { share 10% }  queue seed { share 10% }
rule seeders when udp and origin remote and local.port in 51413 -> seed
default local -> mine  remote -> new  new -> new
`,
    );
    await gateway.up(file);
    await gateway.ask(gateway.inside, 'udp', WORLD, 5000, 200, 6000);
    await gateway.ask(gateway.world, 'udp', WAN, 51413, 200, 7000);

    const live = async (flow: string) => {
      const exit = await gateway.headgate('explain', '--live', flow, '--json');
      expect(exit, exit.stderr).toMatchObject({ status: 0 });
      return JSON.parse(exit.stdout);
    };
    const [mine] = await soon(() => live(`udp ${INSIDE}:6000 -> ${WORLD}:5000`));
    expect(mine).toMatchObject({ queue: 'mine', rule: null, mark: 0, classes: ['7fe0:1', '7fe1:1'] });
    expect(mine.facts).toMatchObject({ origin: 'local', local: { address: INSIDE, port: 6000 } });
    // NAT undone, as the stranger's packets carry it, without ports, the other way round.
    for (const flow of [
      `udp ${WORLD}:7000 -> ${INSIDE}:51413`,
      `udp ${WORLD}:7000 -> ${WAN}:51413`,
      `udp ${INSIDE}:51413 -> ${WORLD}:7000 origin remote`,
      // As events and flows print it.
      `udp ${INSIDE}:51413 <- ${WORLD}:7000`,
    ])
      expect(await live(flow)).toMatchObject([{ queue: 'seed', rule: 'seeders', mark: 3 }]);
    expect(await live(`udp ${INSIDE} -> ${WORLD}`)).toHaveLength(2);

    const text = (await gateway.headgate('explain', '--live', `udp ${WORLD}:7000 -> ${INSIDE}:51413`)).stdout;
    expect(text).toMatch(/^-> seeders .*decides/m);
    expect(text).toMatch(/class 7fe0:3 arriving, 7fe1:3 leaving; class 3 in its mark/);

    expect(await gateway.headgate('explain', '--live', `tcp ${INSIDE}:1 -> ${WORLD}:2`)).toMatchObject({ status: 1 });
    expect(await gateway.headgate('explain', '--live', 'nonsense')).toMatchObject({ status: 2 });
    expect(await gateway.headgate('explain', file, '--live', 'x')).toMatchObject({ status: 2 });
  });
});
