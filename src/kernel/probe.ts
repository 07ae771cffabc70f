import { CAPABILITY_NAMES, type Capability, type Finding, HeadgateError } from '../model/index.ts';
import { probeConntrack } from './probe-conntrack.ts';
import { type Findings, said, tryOut } from './probe-finding.ts';
import { endsOf } from './probe-frames.ts';
import { addDevices, loadBatches, loadRulesets, setSysctls } from './probe-load.ts';
import { NFT_TRIALS } from './probe-nft.ts';
import { sendPackets } from './probe-packets.ts';
import { TC_TRIALS } from './probe-tc.ts';
import type { Attempt } from './probe-trial.ts';
import { hasRight } from './rights.ts';
import { Scratch } from './scratch.ts';

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
    scratch = await Scratch.open();
    // Without it no packet is sent, and what does not work cannot be told from what was not tried.
    if (!hasRight('NET_RAW')) return complete({}, { answer: 'unknown', why: 'CAP_NET_RAW is missing' });
    return complete(await probeIn(scratch), cannotTry(['nft ct']));
  } catch (error) {
    if (!(error instanceof HeadgateError) || error.code === 'HG_NO_TOOL') throw error;
    return complete({}, { answer: 'unknown', why: `nothing could be tried: ${said(error)}` });
  } finally {
    await scratch?.close();
  }
}

const complete = (findings: Findings, otherwise: Finding): Record<Capability, Finding> =>
  Object.fromEntries(CAPABILITY_NAMES.map((name) => [name, findings[name] ?? otherwise])) as Record<
    Capability,
    Finding
  >;

const cannotTry = (without: readonly Capability[]): Finding => ({
  answer: 'unknown',
  why: `it cannot be tried without ${without.join(', ')}`,
  without,
});

async function probeIn(scratch: Scratch): Promise<Findings> {
  const attempts = listAttempts();
  const findings: Findings = {};
  await addDevices(scratch, attempts);
  const ifbs = attempts.map(({ place }) => `link add ${place.ifb} up type ifb\n`).join('');
  findings['device ifb'] = await tryOut(() => scratch.run(['ip', '-batch', '-'], ifbs));

  // nft first: with its rules the kernel begins to track connections, and has what the classifier calls.
  await loadRulesets(scratch, attempts, findings);
  const sysctls = await setSysctls(scratch);
  await loadBatches(scratch, attempts, findings);

  const send = () => sendPackets(scratch, attempts, findings);
  if (findings['nft ct']?.answer === 'yes') {
    const { here } = attempts.find(({ trial }) => trial.capability === 'nft ct')!.place.ends;
    const { packet, ...found } = await probeConntrack({
      netns: scratch.path,
      address: here,
      send,
      sysctls,
      patience: scratch.patience,
    });
    Object.assign(findings, found);
    if (findings['nft log']?.answer === 'yes') findings['nft log'] = packet;
  } else await send();
  blameNeeds(attempts, findings);
  return findings;
}

/** What failed for want of something else was not tried. */
function blameNeeds(attempts: readonly Attempt[], findings: Findings): void {
  for (const { trial } of attempts) {
    if (findings[trial.capability]?.answer === 'yes') continue;
    const without = trial.needs.filter((need) => findings[need]?.answer !== 'yes');
    if (without.length > 0) findings[trial.capability] = cannotTry(without);
  }
}

/** Every trial with its place: t0, p0, i0 and so on. */
const listAttempts = (): Attempt[] =>
  [...NFT_TRIALS, ...TC_TRIALS].map((trial, i) => ({
    trial,
    place: { device: `t${i}`, peer: `p${i}`, ifb: `i${i}`, ends: endsOf(i) },
  }));
