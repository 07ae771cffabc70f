// The metrics of `headgate up`, scraped by Debian's Prometheus at the port of the page, and read by promtool.
// Shown on the machine's own kernel (6.18) with Prometheus 2.42.

import { mkdir, readFile, writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { afterEach, beforeEach, expect, it, vi } from 'vitest';
import { Program, packageFile } from '../../src/lab/index.ts';
import { Gateway, INSIDE, WAN, WORLD } from './gateway.ts';
import { PATIENCE, soon } from './soon.ts';

let gateway: Gateway;
beforeEach(async () => {
  gateway = await Gateway.build();
});
afterEach(() => gateway.close());

const PROMETHEUS = 'http://127.0.0.1:9090';

interface Dashboard {
  readonly panels: readonly {
    readonly id: number;
    readonly title: string;
    readonly datasource: { readonly uid: string };
    readonly targets: readonly { readonly expr: string }[];
  }[];
}

it('are what Prometheus reads, and what the kernel counts', async () => {
  const { box, world, inside, folder } = gateway;
  const file = join(gateway.folder, 'metrics.gate');
  await writeFile(
    file,
    `link wan { device wan  download 50mbit  upload 20mbit }
queue local { share 50% }  queue seed { share 5%  ceiling 40% }
rule seeders when udp and origin remote and local.port in 51413 -> seed
default local -> local  remote -> seed  new -> local
`,
  );
  await box.batch('link set lo up');
  // On a busy machine what follows takes longer than an entry lives that nothing is heard of.
  await box.run('sysctl', '-qw', 'net.netfilter.nf_conntrack_udp_timeout=600');
  await gateway.serve(inside, 'udp', INSIDE, 51413);
  await gateway.serve(world, 'udp', WORLD, 5000);
  const program = await gateway.up(file, '--web', '127.0.0.1:9000');
  const reader = gateway.events();
  await reader.line((line) => line.includes('"resync"'), 10_000 * PATIENCE);

  const { tokenFile } = JSON.parse((await gateway.headgate('web', '--json')).stdout) as { tokenFile: string };
  const config = join(folder, 'prometheus.yml');
  await mkdir(join(folder, 'data'));
  await writeFile(
    config,
    `scrape_configs:
  - job_name: headgate
    scrape_interval: 1s
    scrape_timeout: 1s
    authorization: { credentials_file: ${tokenFile} }
    static_configs: [{ targets: ['127.0.0.1:9000'] }]
`,
  );
  const prometheus = Program.start(
    'prometheus',
    [
      'prometheus',
      ...[`--config.file=${config}`, `--storage.tsdb.path=${join(folder, 'data')}`],
      '--web.listen-address=127.0.0.1:9090',
    ],
    { netns: box.name },
  );
  try {
    await gateway.ask(world, 'udp', WAN, 51413, 200, 7000);
    await gateway.ask(inside, 'udp', WORLD, 5000, 200, 6000);

    /** All that Prometheus has, so that one look tells everything: by name, then by the labels named. */
    const look = async () => {
      const all = '{__name__=~"up|headgate_.*"}';
      const found = JSON.parse(await box.run('promtool', 'query', 'instant', '-o', 'json', PROMETHEUS, all)) as {
        metric: Record<string, string>;
        value: [number, string];
      }[];
      return (name: string, ...labels: string[]): Record<string, number> =>
        Object.fromEntries(
          found
            .filter(({ metric }) => metric.__name__ === name)
            .map(({ metric, value }) => [labels.map((label) => metric[label]).join(' '), Number(value[1])]),
        );
    };
    const of = await vi.waitFor(
      async () => {
        const seen = await look();
        expect(seen('up')).toEqual({ '': 1 });
        expect(seen('headgate_rule_hits_total', 'rule')).toEqual({ seeders: 1 });
        expect(seen('headgate_default_hits_total', 'origin')).toMatchObject({ local: 1, remote: 0 });
        expect(seen('headgate_flows', 'origin')).toMatchObject({ local: 1, remote: 1 });
        expect(seen('headgate_queue_packets_total', 'direction', 'queue')).toMatchObject({ 'upload seed': 1 });
        return seen;
      },
      { timeout: 20_000 * PATIENCE, interval: 250 },
    );
    expect(of('headgate_decision_latency_seconds_count')).toEqual({ '': 2 });
    expect(of('headgate_stream_items_total', 'kind')).toMatchObject({ 'flow.new': 2, ready: 1 });
    expect(of('headgate_link_state', 'link', 'state')).toMatchObject({ 'wan steering': 1, 'wan open': 0 });
    expect(of('headgate_queue_ceiling_bytes_per_second', 'direction', 'queue')).toEqual({
      ...{ 'download local': 50e6 / 8, 'download seed': 20e6 / 8 },
      ...{ 'upload local': 20e6 / 8, 'upload seed': 1e6 },
    });
    expect(of('headgate_deadline_renewals_total')['']).toBeGreaterThan(0);
    expect(of('headgate_stream_readers')).toEqual({ '': 1 });

    // Each panel of the dashboard has something to show.
    const dashboard = JSON.parse(await readFile(packageFile('docs/grafana-dashboard.json'), 'utf8')) as Dashboard;
    const { panels } = dashboard;
    expect(new Set(panels.map(({ id }) => id)).size).toBe(panels.length);
    for (const { datasource } of panels) expect(datasource.uid).toMatch(/^\$\{source\}$/);
    let left = panels.flatMap(({ title, targets }) => targets.map(({ expr }) => ({ title, expr })));
    expect(left.length).toBeGreaterThan(10);
    await vi.waitFor(
      async () => {
        const empty: typeof left = [];
        for (const one of left) {
          const expr = one.expr.replaceAll('$__rate_interval', '30s').replaceAll('$link', '.*');
          const found = await box.run('promtool', 'query', 'instant', '-o', 'json', PROMETHEUS, expr);
          if ((JSON.parse(found) as unknown[]).length === 0) empty.push(one);
        }
        left = empty;
        expect(left).toEqual([]);
      },
      { timeout: 20_000 * PATIENCE, interval: 500 },
    );

    const text = await gateway.headgate('metrics');
    expect(text.status).toBe(0);
    expect(await box.feed(text.stdout, 'promtool', 'check', 'metrics')).toBe('');
    const open = (await gateway.headgate('metrics', '--openmetrics')).stdout;
    expect(open).toMatch(/^# TYPE headgate_queue_bytes counter\n# UNIT headgate_queue_bytes bytes\n/m);
    expect(open).toMatch(/\n# EOF\n$/);
    for (const word of [INSIDE, WORLD, '7000']) expect(text.stdout).not.toContain(word);

    // Found again by another who begins to read of them, flows are no more hits.
    await reader.stop('SIGTERM');
    await soon(async () => expect((await gateway.status()).service).toMatchObject({ follows: [] }));
    const again = gateway.events();
    await again.line((line) => line.includes('"resync"'), 10_000 * PATIENCE);
    const { stdout } = await gateway.headgate('metrics');
    expect(stdout).toMatch(/^headgate_flows\{origin="remote"\} 1$/m);
    expect(stdout).toMatch(/^headgate_rule_hits_total\{rule="seeders"\} 1$/m);
    expect(stdout).toMatch(/^headgate_default_hits_total\{origin="local"\} 1$/m);
    await again.stop('SIGTERM');
  } finally {
    for (const one of [prometheus, reader]) await one.stop('SIGTERM');
  }
  expect(await program.stop('SIGTERM')).toEqual({ status: 0, signal: null });
}, 120_000);
