// Asks for the capabilities in several ways, with /run/headgate its own; prints what came of each as JSON.

import { readFileSync, writeFileSync } from 'node:fs';
import { getCapabilities } from '../../dist/kernel/index.js';

const FILE = '/run/headgate/capabilities.json';
const first = await getCapabilities();
const kept = JSON.parse(readFileSync(FILE, 'utf8'));
const again = await getCapabilities();
const asked = { first: first.time, again: again.time, same: JSON.stringify(first) === JSON.stringify(again) };

/** The answer that is given where the file holds that. */
async function given(text) {
  writeFileSync(FILE, text);
  const { time, findings } = await getCapabilities();
  return { time, bpf: findings['classifier bpf'].answer };
}
const wrong = { ...kept, findings: { ...kept.findings, 'classifier bpf': { answer: 'no', why: 'a lie' } } };
console.log(
  JSON.stringify({
    ...asked,
    edited: await given(JSON.stringify(wrong)),
    otherKey: await given(JSON.stringify({ ...wrong, key: 'of another boot' })),
    cut: await given(JSON.stringify(kept).slice(0, 200)),
    junk: await given(JSON.stringify({ ...kept, findings: { ...kept.findings, 'qdisc htb': { answer: 'unknown' } } })),
    fresh: (await getCapabilities({ fresh: true })).time,
  }),
);
