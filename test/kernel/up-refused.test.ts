// What `headgate up` refuses, each with one message, a documented exit status, and a kernel that is as it was.
// Shown on the machine's own kernel (6.18).

import { mkdir, writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { afterEach, beforeEach, describe, expect, it } from 'vitest';
import { run } from '../../src/kernel/index.ts';
import { standIn } from './faults.ts';
import { exitOf, FORGETFUL, Gateway, HEADGATE } from './gateway.ts';

let gateway: Gateway;
beforeEach(async () => {
  gateway = await Gateway.build();
});
afterEach(() => gateway.close());

describe('what is refused', () => {
  const args = ['--device', 'wan', '--download', '50mbit', '--upload', '50mbit'];

  it.each([
    [
      'a device that does not exist',
      [],
      ['--device', 'nope', '--download', '1mbit'],
      3,
      'there is no network device "nope"',
    ],
    ['a rate that is none', [], ['--device', 'wan', '--download', 'fast'], 2, '--download fast: that is no rate'],
    ['no rate at all', [], ['--device', 'wan'], 2, 'neither download nor upload'],
    [
      'a rate too low to divide',
      [],
      ['--device', 'wan', '--download', '8bit'],
      2,
      'link wan: download 8bit is too little',
    ],
    [
      'a name that tc reads otherwise',
      [],
      ['--device', 'a#b', '--download', '1mbit'],
      2,
      '"a#b" is no device name that can be written',
    ],
    ['a name that is empty', [], ['--device', '', '--download', '1mbit'], 2, '"" is no device name'],
    [
      'a rate too high for tc',
      [],
      [...args.slice(0, 2), '--download', '35tbit'],
      2,
      'download 35tbit is too much for tc',
    ],
    ['no device', [], ['--download', '1mbit'], 2, 'link wan has no device'],
    ['a policy that is not there', [], ['nope.gate'], 2, 'cannot read nope.gate: no such file'],
    ['an option that does not exist', [], ['--frobnicate'], 2, "unknown option '--frobnicate'"],
    [
      'an ifb of somebody else',
      ['ip', 'link', 'add', 'hg-wan', 'type', 'ifb'],
      args,
      4,
      'a device named hg-wan exists and is not ours',
    ],
    [
      'a root qdisc of somebody else',
      [
        'tc',
        'qdisc',
        'add',
        'dev',
        'wan',
        'root',
        'handle',
        '1:',
        'tbf',
        'rate',
        '1mbit',
        'burst',
        '10k',
        'latency',
        '50ms',
      ],
      args,
      4,
      'wan has a root qdisc that is not ours: tbf 1:',
    ],
    [
      'an HTB of somebody else',
      ['tc', 'qdisc', 'add', 'dev', 'wan', 'root', 'handle', '7fe2:', 'htb'],
      args,
      4,
      'wan has a root qdisc that is not ours: htb 7fe2:',
    ],
    [
      'an nft table of that name',
      ['nft', 'add', 'table', 'inet', 'headgate'],
      args,
      4,
      'an nft table inet headgate exists and is not ours',
    ],
  ] as const)('%s', async (_, prepare, options, status, message) => {
    if (prepare.length > 0) await gateway.box.run(...(prepare as unknown as [string, ...string[]]));
    const before = await gateway.snapshot();
    const exit = await gateway.headgate('up', ...options);
    expect(exit.stderr).toContain(message);
    expect(exit.stdout).toBe('');
    expect(exit.status).toBe(status);
    expect(exit.stderr.trim().split('\n').length, exit.stderr).toBeLessThanOrEqual(3);
    expect(await gateway.snapshot()).toBe(before);
  });

  it('a filter of somebody else', async () => {
    await gateway.box.run('tc', 'qdisc', 'add', 'dev', 'wan', 'clsact');
    await gateway.box.run(
      'tc',
      'filter',
      'add',
      'dev',
      'wan',
      'ingress',
      'protocol',
      'ip',
      'prio',
      '5',
      'u32',
      'match',
      'u32',
      '0',
      '0',
    );
    const before = await gateway.snapshot();
    const exit = await gateway.headgate('up', ...args);
    expect(exit).toMatchObject({ status: 4, stdout: '' });
    expect(exit.stderr).toContain('wan has ingress filters that are not ours: pref 5 u32');
    expect(await gateway.snapshot()).toBe(before);
  });

  it('a policy with three mistakes: all three, with line and column', async () => {
    const file = join(gateway.folder, 'bad.gate');
    await writeFile(
      file,
      'link wan { download 10mbyte }\nqueue a { share 50% }\nrule r when origin locl -> a\ndefault local -> b  remote -> a  new -> a\n',
    );
    const before = await gateway.snapshot();
    const exit = await gateway.headgate('up', file, ...args);
    expect(exit.status).toBe(1);
    expect(exit.stderr).toMatch(/bad\.gate:1:\d+/);
    expect(exit.stderr).toMatch(/bad\.gate:3:\d+/);
    expect(exit.stderr).toMatch(/bad\.gate:4:\d+/);
    expect(exit.stderr).toContain('3 errors in the policy');
    expect(await gateway.snapshot()).toBe(before);
  });

  it('a second one in the same namespace', async () => {
    const program = await gateway.up();
    const exit = await gateway.headgate('up', ...args);
    expect(exit.status).toBe(4);
    expect(exit.stderr).toContain(`headgate runs here already (pid ${program.pid})`);
    expect(await gateway.ping(3)).toBe(0);
    expect((await gateway.link()).state).toBe('steering');
  });

  it('a netdev chain that the redirect would switch off', async () => {
    await gateway.box.feed(
      'table netdev fw {\n  chain i {\n    type filter hook ingress device "wan" priority 0; policy accept;\n  }\n}\n',
      ...(['nft', '-f', '-'] as const),
    );
    const before = await gateway.snapshot();
    const exit = await gateway.headgate('up', ...args);
    expect(exit.status).toBe(4);
    expect(exit.stderr).toContain('wan has netdev ingress rules of somebody else: table netdev fw chain i');
    expect(await gateway.snapshot()).toBe(before);
    const program = await gateway.up('--device', 'wan', '--upload', '20mbit');
    expect((await program.stop('SIGTERM')).status).toBe(0);

    const file = join(gateway.folder, 'bypass.gate');
    await writeFile(
      file,
      'link wan { device wan  download 50mbit  bypass netdev-ingress }\nqueue q { share 50% }\ndefault local -> q  remote -> q  new -> q\n',
    );
    const allowed = await gateway.up(file);
    await allowed.line((line) => line.includes('what arrives on wan passes by table netdev fw chain i'));
    expect((await allowed.stop('SIGTERM')).status).toBe(0);
    expect(await gateway.snapshot()).toBe(before);
  });

  it('conntrack create, which this kernel cannot do, nor another datapath', async () => {
    const file = join(gateway.folder, 'create.gate');
    await writeFile(
      file,
      'link wan { device wan  download 50mbit  conntrack create }\nqueue q { share 50% }\ndefault local -> q  remote -> q  new -> q\n',
    );
    const before = await gateway.snapshot();
    const any = await gateway.headgate('up', file);
    expect(any).toMatchObject({ status: 3, stdout: '' });
    expect(any.stderr).toContain('this kernel cannot do conntrack create of link wan: ');
    const named = await gateway.headgate('up', file, '--datapath', 'map');
    expect(named).toMatchObject({ status: 2, stdout: '' });
    expect(named.stderr).toContain('link wan says `conntrack create`, and datapath map makes no conntrack entries');
    const plan = await gateway.headgate('plan', file, '--script', '--datapath', 'mark');
    expect(plan).toMatchObject({ status: 2, stdout: '' });
    expect(await gateway.snapshot()).toBe(before);
  });

  it('a root without the capabilities', async () => {
    const exit = await exitOf(gateway.box.name, 'setpriv', '--bounding-set=-net_admin', ...HEADGATE, 'up', ...args);
    expect(exit.status).toBe(3);
    expect(exit.stderr).toContain('CAP_NET_ADMIN is missing');
  });

  it('a /run that cannot be written', async () => {
    const before = await gateway.snapshot();
    const hide = 'mount -t tmpfs -o ro none /run/headgate && exec "$@"';
    await mkdir('/run/headgate', { recursive: true });
    const exit = await exitOf(
      gateway.box.name,
      'unshare',
      '--mount',
      'sh',
      '-c',
      hide,
      'sh',
      ...HEADGATE,
      'up',
      '--json',
      ...args,
    );
    expect(exit.status).toBe(3);
    expect(JSON.parse(exit.stderr)).toMatchObject({ error: { code: 'HG_NO_PLACE', folder: '/run/headgate' } });
    expect(await gateway.snapshot()).toBe(before);
  });

  it('no root', async () => {
    const exit = await exitOf(
      gateway.box.name,
      'setpriv',
      '--reuid=65534',
      '--clear-groups',
      // Nobody may not read this clone where it lies in root's home.
      '--inh-caps=+dac_read_search',
      '--ambient-caps=+dac_read_search',
      ...HEADGATE,
      'up',
      ...args,
    );
    expect(exit).toMatchObject({ status: 3, stdout: '' });
    expect(exit.stderr).toContain('this needs root');
  });

  it('a datapath that this kernel cannot do', async () => {
    const before = await gateway.snapshot();
    const file = join(gateway.folder, 'any.gate');
    await writeFile(
      file,
      'link wan { device wan  download 50mbit }\nqueue q { share 50% }\ndefault local -> q  remote -> q  new -> q\n',
    );
    const lacks = { ct: 'action ct', mark: 'action ctinfo' };
    for (const [datapath, lack] of Object.entries(lacks))
      for (const command of ['up', 'plan']) {
        const exit = await gateway.headgate(command, file, '--datapath', datapath);
        expect(exit).toMatchObject({ status: 3, stdout: '' });
        expect(exit.stderr).toContain(`this kernel cannot do datapath ${datapath}: `);
        expect(exit.stderr).toContain(`${lack}: Failed to load TC action module`);
      }
    expect(await gateway.snapshot()).toBe(before);
  });

  it('a kernel without BTF', async () => {
    const before = await gateway.snapshot();
    // What such a kernel is found to be capable of is no business of others.
    const hide =
      'mount -t tmpfs none /sys/kernel/btf 2>/dev/null || mount -t tmpfs none /sys/kernel; mount -t tmpfs none /run/headgate; exec "$@"';
    await mkdir('/run/headgate', { recursive: true });
    const exit = await exitOf(
      gateway.box.name,
      'unshare',
      '--mount',
      'sh',
      '-c',
      hide,
      'sh',
      ...HEADGATE,
      ...['up', '--datapath', 'bpf'],
      ...args,
    );
    expect(exit.status).toBe(3);
    expect(exit.stderr).toContain('this kernel has no BTF');
    expect(await gateway.snapshot()).toBe(before);
  });

  it('a step that the kernel refuses: what was done before is undone', async () => {
    const before = await gateway.snapshot();
    // A tc that fails at the last step of all, as a kernel without mirred would.
    const real = (await run(['sh', '-c', 'command -v tc'])).trim();
    const script = `#!/bin/sh
case "$*" in *mirred*) echo "Error: Failed to load TC action module." >&2; exit 2;; esac
exec ${real} "$@"
`;
    const path = await standIn(gateway.folder, 'tc', script);
    // That such a kernel is asked again what it can do is no business of others.
    const command = ['env', path, ...HEADGATE, 'up', '--datapath', 'bpf', ...args];
    const exit = await exitOf(gateway.box.name, ...FORGETFUL, ...command);
    expect(exit.status).toBe(5);
    expect(exit.stderr).toContain('"tc filter replace dev wan ingress');
    expect(exit.stderr).toContain('Failed to load TC action module');
    expect(await gateway.snapshot()).toBe(before);
  });
});

describe('errors in a pipe', () => {
  it('are JSON for wrong usage, too', async () => {
    const exit = await gateway.headgate('up', '--json', '--frobnicate');
    expect(exit.status).toBe(2);
    expect(JSON.parse(exit.stderr)).toMatchObject({
      error: { code: 'HG_USAGE', hint: 'headgate up --help shows how it is called.' },
    });
  });

  it('are one JSON object with code, message and hint', async () => {
    const exit = await gateway.headgate('up', '--json', '--device', 'nope', '--download', '1mbit');
    expect(JSON.parse(exit.stderr)).toMatchObject({
      error: { code: 'HG_NO_DEVICE', device: 'nope', hint: expect.stringContaining('lan') },
    });
  });
});
