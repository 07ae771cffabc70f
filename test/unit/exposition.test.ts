import { readFileSync } from 'node:fs';
import { describe, expect, it } from 'vitest';
import { type Family, formatMetrics, Histogram } from '../../src/monitor/index.ts';
import { MonitorStream } from '../../src/monitor/stream.ts';
import { Tally } from '../../src/pipeline/index.ts';
import { listMetrics } from '../../src/service/metrics.ts';

describe('metrics', () => {
  const families: Family[] = [
    { name: 'a_bytes', type: 'counter', help: 'A\\B\nC', samples: [{ labels: { q: 'x"\\\n' }, value: 5 }] },
    { name: 'b', type: 'gauge', help: 'none', samples: [] },
  ];

  it('are written in both formats, quoted', () => {
    expect(formatMetrics(families, 'prometheus')).toBe(
      '# HELP a_bytes_total A\\\\B\\nC\n# TYPE a_bytes_total counter\na_bytes_total{q="x\\"\\\\\\n"} 5\n',
    );
    expect(formatMetrics(families, 'openmetrics')).toBe(
      '# HELP a_bytes A\\\\B\\nC\n# TYPE a_bytes counter\n# UNIT a_bytes bytes\na_bytes_total{q="x\\"\\\\\\n"} 5\n# EOF\n',
    );
  });

  it('count a histogram’s values by all bounds that they are within', () => {
    const histogram = new Histogram([0.1, 1]);
    histogram.add(0.1);
    histogram.add(0.5, 2);
    histogram.add(7);
    expect(histogram.samples.map(({ value }) => value)).toEqual([1, 3, 4, 8.1, 4]);
  });

  it('name more rules than are counted together', () => {
    const tally = new Tally();
    for (let i = 0; i < 1500; i++) tally.decided({ name: `r${i}` } as never, 'local');
    expect(tally.rules.size).toBe(1001);
    expect(tally.rules.get('(others)')).toBe(500);
  });

  it('are all that the dashboard and the manual speak of', () => {
    const status = { running: true, tracking: true, links: [], policers: [] };
    const known = listMetrics(status, new Tally(), new MonitorStream('x').counts).map(({ name, type }) =>
      type === 'counter' ? `${name}_total` : name,
    );
    const dashboard = readFileSync('docs/grafana-dashboard.json', 'utf8');
    const named = new Set([...dashboard.matchAll(/headgate_\w+/g)].map(([name]) => name.replace(/_bucket$/, '')));
    expect(named.size).toBeGreaterThan(10);
    expect([...named].filter((name) => !known.includes(name))).toEqual([]);
    const manual = readFileSync('docs/monitoring.md', 'utf8');
    expect(known.filter((name) => !manual.includes(name.replace('headgate', '')))).toEqual([]);
  });
});
