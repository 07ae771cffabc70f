// `headgate check` from start to end, node's own included, and a large policy read by the parser. Pure; any kernel.
// Node that starts and does nothing is measured in turn with it, so that a slow machine shows.

import { spawnSync } from 'node:child_process';
import { mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterAll, expect, test } from 'vitest';
import { packageFile } from '../../src/lab/index.ts';
import { parsePolicy } from '../../src/language/index.ts';
import { median } from './bench-lab.ts';

const STARTS = 31;
const folder = mkdtempSync(join(tmpdir(), 'hg-bench-'));
afterAll(() => rmSync(folder, { recursive: true }));

/** A policy whose rules name what rules name: sides, prefixes, ports, sets, amounts. */
function policyOf(rules: number): string {
  const lines = [
    'link wan { device eth0  download 90mbit  upload 18mbit }',
    'queue mine { share 70% }',
    'queue seed { share 5% }',
  ];
  for (let i = 0; i < rules; i++) {
    const net = `10.${(i >> 8) & 255}.${i & 255}.0/24`;
    const kinds = [
      `rule r${i} when tcp and remote.port ${i} -> mine`,
      `rule r${i} when origin remote and local in ${net} and udp -> seed`,
      `rule r${i} when remote in ${net} and bytes.in > ${i + 1}MB -> seed`,
      `rule r${i} when protocol icmp and remote in 2001:db8:${i.toString(16)}::/48 -> mine`,
    ];
    lines.push(kinds[i % kinds.length]!);
  }
  lines.push('default local -> mine  remote -> seed  new -> seed', '');
  return lines.join('\n');
}

function start(...argv: string[]): number {
  const from = performance.now();
  const { status, stderr } = spawnSync(process.execPath, argv, { encoding: 'utf8' });
  expect([status, stderr]).toEqual([0, '']);
  return performance.now() - from;
}

test('check of 50 rules: at most 150 ms', () => {
  const file = join(folder, 'fifty.gate');
  writeFileSync(file, policyOf(50));
  const check: number[] = [];
  const node: number[] = [];
  for (let i = 0; i < STARTS; i++) {
    node.push(start('-e', '0'));
    check.push(start(packageFile('dist/cli/headgate.js'), 'check', '--no-machine', '--json', file));
  }
  const [ours, bare] = [median(check), median(node)];
  process.stdout.write(
    `\ncheck of 50 rules: ${ours.toFixed(0)} ms (least ${Math.min(...check).toFixed(0)}), node alone ${bare.toFixed(0)} ms (least ${Math.min(...node).toFixed(0)}); medians of ${STARTS}\n`,
  );
  expect(ours).toBeLessThanOrEqual(150);
});

test('10,000 rules parsed and checked: at most 1 s', () => {
  const text = policyOf(10_000);
  const times: number[] = [];
  for (let i = 0; i < 5; i++) {
    const from = performance.now();
    const { policy } = parsePolicy(text, 'big.gate');
    times.push(performance.now() - from);
    expect(policy?.rules).toHaveLength(10_000);
  }
  process.stdout.write(
    `\n10,000 rules parsed and checked: first ${times[0]!.toFixed(0)} ms, median ${median(times).toFixed(0)} ms\n`,
  );
  expect(Math.max(...times)).toBeLessThanOrEqual(1000);
});
