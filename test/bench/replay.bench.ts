// A day of a home gateway, two million flows, replayed by a policy with live rules against another one.

import { expect, test } from 'vitest';
import { parsePolicy } from '../../src/language/index.ts';
import { compare, readRecording } from '../../src/replay/index.ts';
import { note } from './report.ts';

const FLOWS = 2_000_000;
const DAY = 86_400_000;
/** Ms that a flow lives. */
const LIFE = 60_000;

const policyOf = (rules: string) => {
  const text = `link wan { }
queue local { share 50% }  queue seed { share 10% }  queue bulk { share 5% }
${rules}
default local -> local  remote -> seed  new -> local`;
  return parsePolicy(text, 'bench.gate').policy!;
};

/** Begins and ends as they follow each other, without an array of them all. */
async function* lines(): AsyncGenerator<string> {
  yield JSON.stringify({ headgate: 'recording', version: 1, session: 'a', time: '2026-01-02T00:00:00.000Z' });
  yield '["p","local",null]';
  const step = DAY / FLOWS;
  const behind = Math.floor(LIFE / step);
  let last = 0;
  const passed = (i: number) => {
    const now = Math.floor(i * step);
    const ms = now - last;
    last = now;
    return ms;
  };
  for (let i = 0; i < FLOWS + behind; i++) {
    if (i < FLOWS) {
      const [local, remote] = [
        `192.168.1.${2 + (i % 50)}:${1024 + (i % 60_000)}`,
        `198.${i % 200}.${(i >> 8) & 255}.${i & 255}:${i % 3 ? 443 : 5000}`,
      ];
      yield `["n",${passed(i)},"${i % 4 ? 'tcp' : 'udp'}","${local}","${remote}","${i % 5 ? 'local' : 'remote'}",0]`;
    }
    if (i >= behind) yield `["e",0,${i - behind},${(i * 7919) % 5_000_000},3000,40,30]`;
  }
}

test('two million flows', async () => {
  const began = performance.now();
  const recording = await readRecording(lines(), [], 'bench');
  const read = (performance.now() - began) / 1000;
  expect([recording.flows, recording.torn]).toEqual([FLOWS, 0]);
  const policy = policyOf(`rule seeders when origin remote and local.port in 51413 -> seed
rule slow when remote.port 5000 and age > 30s -> bulk
rule big when origin local and bytes.in > 4MB -> bulk`);
  const start = performance.now();
  const { moves } = compare(recording, policy, policyOf('rule web when remote.port 443 -> local'));
  const replayed = (performance.now() - start) / 1000;
  expect(moves.length).toBeGreaterThan(0);
  note('Replay', [
    { what: `reading ${FLOWS.toLocaleString('en')} flows`, value: read, unit: 's' },
    { what: 'deciding them by two policies, one with live rules, a day of the clock', value: replayed, unit: 's' },
    { what: 'both', value: read + replayed, unit: 's', goal: { most: 60 } },
  ]);
}, 600_000);
