// The policies that ship: checked, laid out, commented, and holding what they promise.

import { readdirSync, readFileSync } from 'node:fs';
import { describe, expect, it } from 'vitest';
import { packageFile } from '../../src/lab/index.ts';
import { createDecide, formatPolicy, parsePolicy } from '../../src/language/index.ts';

const FILES = readdirSync(packageFile('rules')).filter((name) => name.endsWith('.gate'));
const SHIPPED = ['favour-local', 'home-gateway', 'look', 'monitor-only', 'one-queue', 'seedbox', 'several-devices'];

it('are these', () => {
  expect(FILES.sort()).toEqual(SHIPPED.map((name) => `${name}.gate`));
});

describe.each(FILES)('%s', (name) => {
  const text = readFileSync(packageFile(`rules/${name}`), 'utf8');
  const { policy, diagnostics } = parsePolicy(text, name);

  it('has no findings', () => {
    expect(diagnostics).toEqual([]);
  });

  it('is laid out as headgate fmt does it', () => {
    expect(formatPolicy(text, name).text).toBe(text);
  });

  it('begins by saying what it is for, and comments every block', () => {
    expect(text).toMatch(/^# [A-Z].*[.:]?\n/);
    const lines = text.split('\n');
    const comments = lines.filter((line) => line.startsWith('#')).length;
    expect(comments).toBeGreaterThan(lines.filter((line) => /^(link|queue|rule|default)/.test(line)).length / 2);
  });

  it('says by expect lines where flows of every default go, and of every rule with a queue', () => {
    const decide = createDecide(policy!);
    const deciding = policy!.expects.map(({ facts }) => decide(facts).rule?.name ?? `default ${facts.origin}`);
    for (const rule of policy!.rules) if (rule.queue !== undefined) expect(deciding).toContain(rule.name);
    for (const { facts, queue } of policy!.expects) expect(decide(facts).queue).toBe(queue);
    expect(policy!.expects.length).toBeGreaterThan(0);
  });
});
