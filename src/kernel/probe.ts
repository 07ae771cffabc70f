import { CAPABILITY_NAMES, type Capability, type Finding, HeadgateError } from '../model/index.ts';
import { type Findings, said, tryOut } from './probe-finding.ts';
import { endsOf } from './probe-frames.ts';
import { addDevices, loadBatches, loadRulesets, setSysctls } from './probe-load.ts';
import { NFT_TRIALS } from './probe-nft.ts';
import { sendPackets } from './probe-packets.ts';
import { TC_TRIALS } from './probe-tc.ts';
import type { Attempt } from './probe-trial.ts';
import { Scratch } from './scratch.ts';

/** Ms that one command may take: modules are loaded meanwhile, and the machine may be busy. What hangs is found out by it. */
const PATIENCE_MS = 10_000;
/** Ms that all of them may take together. */
const BUDGET_MS = 60_000;
/**
 * Finds out what the kernel and the tools here can do, by trying: in a network namespace that is gone afterwards,
 * each thing is loaded, read back, and real packets are sent through it (probe-nft.ts, probe-tc.ts). tc, ip and nft
 * make the kernel load modules, as they would for anybody; nothing else outside the namespace changes. What hangs is
 * given up. Takes half a second on an idle machine.
 *
 * @throws HeadgateError HG_NO_TOOL
 */
export async function probe(): Promise<Record<Capability, Finding>> {
  let scratch: Scratch | undefined;
  try {
    scratch = await Scratch.open(PATIENCE_MS, BUDGET_MS);
    return complete(await probeIn(scratch), 'it was not tried');
  } catch (error) {
    if (!(error instanceof HeadgateError) || error.code === 'HG_NO_TOOL') throw error;
    return complete({}, `nothing could be tried: ${said(error)}`);
  } finally {
    await scratch?.close();
  }
}

const complete = (findings: Findings, why: string): Record<Capability, Finding> =>
  Object.fromEntries(CAPABILITY_NAMES.map((name) => [name, findings[name] ?? { answer: 'unknown', why }])) as Record<
    Capability,
    Finding
  >;

async function probeIn(scratch: Scratch): Promise<Findings> {
  const attempts = listAttempts();
  const findings: Findings = {};
  await addDevices(scratch, attempts);
  const ifbs = attempts.map(({ place }) => `link add ${place.ifb} up type ifb\n`).join('');
  findings['device ifb'] = await tryOut(() => scratch.run(['ip', '-batch', '-'], ifbs));

  // nft first: with its rules the kernel begins to track connections, and has what the classifier calls.
  await loadRulesets(scratch, attempts, findings);
  const sysctls = await setSysctls(scratch);
  const tracks = findings['nft ct']?.answer === 'yes';
  // rxjs takes 70 ms to load: whoever finds the answer in the cache should not pay that.
  const conntrack = tracks ? await import('./probe-conntrack.ts') : undefined;
  const listening = conntrack?.listen(scratch.path);
  await loadBatches(scratch, attempts, findings);

  await sendPackets(scratch, attempts, findings);
  blameNeeds(attempts, findings);
  if (!conntrack || !listening) return findings;

  findings['conntrack events'] = await listening.event;
  const packet = await listening.packet;
  if (findings['nft log']?.answer === 'yes') findings['nft log'] = packet;
  const { here } = attempts.find(({ trial }) => trial.capability === 'nft inet')!.place.ends;
  const entry = await conntrack.getEntry(scratch.path, here).catch(() => undefined);
  const shows = (set: Finding, value: number | undefined): Finding =>
    set.answer === 'yes' && entry && !value ? { answer: 'no', why: 'it can be set, but a new entry is without' } : set;
  findings['sysctl nf_conntrack_events'] = sysctls.nf_conntrack_events;
  findings['sysctl nf_conntrack_acct'] = shows(sysctls.nf_conntrack_acct, entry?.packets);
  findings['sysctl nf_conntrack_timestamp'] = shows(sysctls.nf_conntrack_timestamp, entry?.start);
  findings['conntrack marks'] = await conntrack.tryMark(scratch.path, here);
  return findings;
}

/** What failed for want of something else was not tried. */
function blameNeeds(attempts: readonly Attempt[], findings: Findings): void {
  for (const { trial } of attempts) {
    if (findings[trial.capability]?.answer === 'yes') continue;
    const missing = trial.needs.filter((need) => findings[need]?.answer !== 'yes');
    if (missing.length > 0)
      findings[trial.capability] = { answer: 'unknown', why: `it cannot be tried without ${missing.join(', ')}` };
  }
}

/** Every trial with its place: t0, p0, i0 and so on. */
const listAttempts = (): Attempt[] =>
  [...NFT_TRIALS, ...TC_TRIALS].map((trial, i) => ({
    trial,
    place: { device: `t${i}`, peer: `p${i}`, ifb: `i${i}`, ends: endsOf(i) },
  }));
