// Whose bits of the mark are whose: `headgate up` beside others who use marks, and no bit of theirs ever changes. Shown on
// the machine's own kernel (6.18: datapaths bpf and map).

import { writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import fc from 'fast-check';
import { afterEach, beforeEach, describe, expect, it } from 'vitest';
import type { Program } from '../../src/lab/index.ts';
import { DEFAULT_MARK_FIELD, type MarkField, markFieldOf } from '../../src/model/index.ts';
import { Gateway, INSIDE, WAN, WORLD } from './gateway.ts';
import { Foreigner } from './marks-lab.ts';
import { soon } from './soon.ts';

const INSIDE6 = 'fd00:a::2';
const WORLD6 = 'fd00:b::2';

let gateway: Gateway;
let program: Program | undefined;
beforeEach(async () => {
  gateway = await Gateway.build();
});
afterEach(() => gateway.close());

const HEAD = `link wan { device wan  download 50mbit  upload 50mbit }
queue local { share 60% }  queue new { share 10% }  queue remote { share 10% }  queue special { share 5% }
default local -> local  remote -> remote  new -> new
`;
const RULES = {
  none: '',
  five: 'rule five when remote.port 5000 -> special\n',
  all: 'rule all when origin local -> special\nrule theirs when origin remote -> new\n',
};

async function policyFile(rules: string): Promise<string> {
  const file = join(gateway.folder, 'marks.gate');
  await writeFile(file, HEAD + rules);
  return file;
}

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
    program = await gateway.up(await policyFile(RULES.five));
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

  it('the same again after a crash, so that flows keep their class; other ones are cleared first', async () => {
    await gateway.serve(gateway.world, 'udp', WORLD, 5000);
    await (await gateway.up(await policyFile(`marks 0x00fe0000\n${RULES.five}`))).stop('SIGKILL');
    await gateway.ask(gateway.inside, 'udp', WORLD, 5000, 200, 6000);
    expect(await marksOf()).toContain(`mark=${4 << 17}`);
    await (await gateway.up(await policyFile(RULES.five))).stop('SIGKILL');
    expect(await gateway.status()).toMatchObject({ marks: '0x00fe0000' });
    program = await gateway.up(await policyFile(`marks 0x7f000000\n${RULES.five}`));
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
    program = await gateway.up(await policyFile(`marks 0x7f000000\n${RULES.five}`));
    await program.line((line) => says(line, 'nft table inet fw compares the whole mark'));
    // What marks nothing fools nobody.
    await program.stop('SIGTERM');
    program = await gateway.up(await policyFile(RULES.none));
    expect(program.output.filter((line) => line.includes('compares'))).toEqual([]);
  });

  it('a reload keeps them, says no to others, and warns of who has come since', async () => {
    program = await gateway.up(await policyFile(RULES.none));
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

type Step =
  | {
      readonly kind: 'flow';
      readonly from: 'inside' | 'world';
      readonly port: number;
      readonly l4: 'udp' | 'tcp';
      readonly six: boolean;
    }
  | { readonly kind: 'reload'; readonly rules: keyof typeof RULES }
  | { readonly kind: 'hangup' | 'restart' | 'crash' | 'down' };

const PORTS = [5000, 5001] as const;
const SEEDED = 51413;

const step: fc.Arbitrary<Step> = fc.oneof(
  {
    weight: 5,
    arbitrary: fc.record({
      kind: fc.constant('flow' as const),
      from: fc.constantFrom('inside' as const, 'world' as const),
      port: fc.constantFrom(...PORTS),
      l4: fc.constantFrom('udp' as const, 'tcp' as const),
      six: fc.boolean(),
    }),
  },
  {
    weight: 3,
    arbitrary: fc.record({
      kind: fc.constant('reload' as const),
      rules: fc.constantFrom('none' as const, 'five' as const, 'all' as const),
    }),
  },
  {
    weight: 2,
    arbitrary: fc.record({
      kind: fc.constantFrom('hangup' as const, 'restart' as const, 'crash' as const, 'down' as const),
    }),
  },
);

describe.each(['bpf', 'map'])('property: no bit of anybody else’s ever changes (%s)', (datapath) => {
  it.each<[string, MarkField]>([
    ['the default bits', DEFAULT_MARK_FIELD],
    ['bits in the middle', markFieldOf(0x0003f800)!],
  ])(
    'under flows, reloads, crashes and down, with %s',
    async (_, field) => {
      await lay6();
      const others = ~field.mask >>> 0;
      const foreign = fc.integer({ min: 0, max: 0xffffffff }).map((mark) => (mark & others) >>> 0);
      await fc.assert(
        fc.asyncProperty(
          fc.tuple(foreign, foreign, foreign),
          fc.array(step, { minLength: 6, maxLength: 10 }),
          async (marks, steps) => {
            const byPort = { [PORTS[0]]: marks[0], [PORTS[1]]: marks[1], [SEEDED]: marks[2] };
            const foreigner = await Foreigner.add(gateway.box, byPort, field);
            // So that every run has flows that are marked, and of both families.
            const seen: Step[] = [
              { kind: 'reload', rules: 'all' },
              { kind: 'flow', from: 'inside', port: 5000, l4: 'udp', six: true },
              { kind: 'flow', from: 'world', port: 5000, l4: 'udp', six: false },
              ...steps,
            ];
            let flows = 0;
            let marked = 0;
            const start = async () => {
              program = await gateway.up(join(gateway.folder, 'marks.gate'), '--datapath', datapath);
            };
            try {
              await policyFile(`marks 0x${field.mask.toString(16)}\n${RULES.five}`);
              await start();
              for (const one of seen) {
                flows += await take(one, field, start);
                const { changed, marks: now } = await foreigner.entries();
                expect(changed, JSON.stringify(one)).toEqual([]);
                marked += now.filter((mark) => (mark & field.mask) !== 0).length;
              }
              expect(marked).toBeGreaterThan(0);
              expect((await foreigner.entries()).count).toBeGreaterThan(0);
              await gateway.headgate('down');
              const after = await foreigner.entries();
              expect(after.changed).toEqual([]);
              expect(after.marks.filter((mark) => (mark & field.mask) !== 0)).toEqual([]);
              expect(await foreigner.counters()).toMatchObject({ 'changed-flow': 0, 'changed-packet': 0 });
              expect((await foreigner.counters()).seen).toBeGreaterThanOrEqual(2 * flows);
            } finally {
              await gateway.headgate('down');
              program = undefined;
              await gateway.box.run('nft', 'delete', 'table', 'inet', 'foreign');
              await gateway.box.run('conntrack', '-F').catch(() => {});
            }
          },
        ),
        { numRuns: 1, endOnFailure: true },
      );
    },
    240_000,
  );

  /** One step; says how many flows it made. */
  async function take(one: Step, field: MarkField, start: () => Promise<void>): Promise<number> {
    if (one.kind === 'flow') {
      const [from, to, port] =
        one.from === 'inside'
          ? [gateway.inside, one.six ? WORLD6 : WORLD, one.port]
          : [gateway.world, one.six ? INSIDE6 : WAN, one.six ? one.port : SEEDED];
      await gateway.ask(from, one.l4, to, port);
      return 1;
    }
    if (one.kind === 'reload') {
      await policyFile(`marks 0x${field.mask.toString(16)}\n${RULES[one.rules]}`);
      expect((await gateway.headgate('reload')).status).toBe(0);
    } else if (one.kind === 'hangup') process.kill((await gateway.status()).service!.pid, 'SIGHUP');
    else {
      if (one.kind === 'crash') await program!.stop('SIGKILL');
      else if (one.kind === 'restart') await program!.stop('SIGTERM');
      else expect((await gateway.headgate('down')).status).toBe(0);
      await start();
    }
    return 0;
  }

  async function lay6(): Promise<void> {
    const { box, inside, world } = gateway;
    const add = (ns: typeof box, address: string, device: string) =>
      ns.run('ip', 'address', 'add', address, 'dev', device, 'nodad');
    await box.run('sysctl', '-qw', 'net.ipv6.conf.all.forwarding=1', 'net.netfilter.nf_conntrack_udp_timeout=600');
    await add(box, 'fd00:a::1/64', 'lan');
    await add(inside, `${INSIDE6}/64`, 'eth0');
    await add(box, 'fd00:b::1/64', 'wan');
    await add(world, `${WORLD6}/64`, 'up0');
    await inside.run('ip', '-6', 'route', 'add', 'default', 'via', 'fd00:a::1');
    await world.run('ip', '-6', 'route', 'add', 'fd00:a::/64', 'via', 'fd00:b::1');
    for (const l4 of ['udp', 'tcp'] as const) {
      for (const port of PORTS) {
        await gateway.serve(world, l4, WORLD, port);
        await gateway.serve(world, l4, WORLD6, port);
        await gateway.serve(inside, l4, INSIDE6, port);
      }
      await gateway.serve(inside, l4, INSIDE, SEEDED);
    }
  }
});
