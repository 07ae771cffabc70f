import { fileURLToPath } from 'node:url';
import { CAPABILITY_NAMES, type Capability, type Finding, HeadgateError } from '../model/index.ts';
import { inLanes, said, tryOut } from './probe-finding.ts';
import { MAC_HERE, MAC_THERE, PORT_HERE, PORT_THERE } from './probe-frames.ts';
import { getReadings, unmetBy } from './probe-readings.ts';
import { NFT_CT, NFT_INET, type Place, placeOf, roundsOf, TRIALS, type Trial } from './probe-trials.ts';
import { Scratch } from './scratch.ts';

/** Ms that one command may take: modules are loaded meanwhile, and the machine may be busy. A hang is found out by that. */
const PATIENCE_MS = 10_000;
/** Ms for everything. */
const BUDGET_MS = 30_000;
/** Ms for packets to be counted once they were sent; only what loses them takes as long. */
const SETTLE_MS = 1000;
/** Commands at once. */
const LANES = 4;

/** Sends crafted packets; native-shim/lab/inject.c. */
const INJECT = fileURLToPath(new URL('../../native-shim/build/inject', import.meta.url));

type Findings = Partial<Record<Capability, Finding>>;

/** One trial at its place, until its finding is known. */
interface Attempt {
  readonly trial: Trial;
  readonly place: Place;
}

/**
 * Finds out what the kernel and the tools here can do, by trying: in a network namespace that is gone afterwards,
 * each thing is loaded and real packets are sent through it (src/kernel/probe-trials.ts). tc, ip and nft make the
 * kernel load modules as they would for anybody; nothing else outside the namespace changes. One that hangs is given
 * up. Takes half a second, and never more than {@link BUDGET_MS}.
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
  const trials = [NFT_INET, NFT_CT, ...TRIALS];
  const attempts = trials.map((trial, i): Attempt => ({ trial, place: placeOf(i) }));
  const conntrack = placeOf(attempts.length);
  const places = [...attempts.map(({ place }) => place), conntrack];
  const findings: Findings = {};
  await addDevices(scratch, places);
  findings['device ifb'] = await tryOut(() =>
    scratch.run(['ip', '-batch', '-'], places.map(({ ifb }) => `link add ${ifb} up type ifb\n`).join('')),
  );
  // These first: the kernel tracks connections only where a rule asks for it, and the classifier's functions come with that.
  const [first, rest] = [attempts.slice(0, 2), attempts.slice(2)];
  for (const attempt of first) findings[attempt.trial.capability] = await load(scratch, attempt);
  if (findings['nft inet']?.answer === 'yes') await scratch.run(['nft', '-f', '-'], watchTable(attempts));
  await inLanes(LANES, rest, async (attempt) => {
    findings[attempt.trial.capability] = await load(scratch, attempt);
  });
  const loaded = attempts.filter(({ trial }) => findings[trial.capability]?.answer === 'yes');
  const [ofConntrack] = await Promise.all([
    conntrackFindings(scratch, conntrack, findings),
    sendPackets(scratch, loaded, findings),
  ]);
  Object.assign(findings, ofConntrack);
  blameNeeds(attempts, findings);
  return findings;
}

/** Nothing is told without `nft ct`, for then the kernel tracks no connection. */
async function conntrackFindings(scratch: Scratch, place: Place, findings: Findings): Promise<Findings> {
  if (findings['nft ct']?.answer !== 'yes') return {};
  // It brings rxjs: 70 ms that whoever finds the answer in the cache should not pay.
  const { probeConntrack } = await import('./probe-conntrack.ts');
  return probeConntrack(scratch, place, (frame) => send(scratch, place.peer, [frame]));
}

/** @throws HeadgateError where packets cannot be sent here at all */
async function addDevices(scratch: Scratch, places: readonly Place[]): Promise<void> {
  // Neighbour discovery would be counted as well. Without IPv6 there is none.
  await scratch.run(['sysctl', '-qw', 'net.ipv6.conf.default.disable_ipv6=1']).catch(() => {});
  const lines = places.flatMap(({ device, peer, ends }) => [
    `link add ${device} address ${MAC_HERE} type veth peer name ${peer} address ${MAC_THERE}`,
    `link set ${device} up`,
    `link set ${peer} up`,
    `address add ${ends.here}/24 dev ${device}`,
  ]);
  await scratch.run(['ip', '-batch', '-'], `${lines.join('\n')}\n`);
}

/** A table that counts what comes to the stack by each trial's device, before connections are tracked. */
function watchTable(attempts: readonly Attempt[]): string {
  const watched = attempts.flatMap(({ trial, place: { device } }) =>
    (trial.arrives ?? []).map((match, i) => ({ device, name: `${device}-${i}`, match })),
  );
  const ports = `udp dport { ${PORT_HERE}, ${PORT_THERE} }`;
  return [
    'table inet watch {',
    ...watched.map(({ name }) => `  counter ${name} {\n  }`),
    '  chain c {',
    '    type filter hook prerouting priority raw; policy accept;',
    ...watched.map(({ device, name, match }) => `    iifname "${device}" ${ports} ${match} counter name "${name}"`),
    '  }',
    '}\n',
  ].join('\n');
}

function load(scratch: Scratch, { trial, place }: Attempt): Promise<Finding> {
  return tryOut(async () => {
    for (const { argv, input } of trial.commands(place)) await scratch.run(argv, input);
  });
}

/** Sends each trial's packets, and changes the findings of those that did not go as they should. */
async function sendPackets(scratch: Scratch, loaded: readonly Attempt[], findings: Findings): Promise<void> {
  const failed = new Set<Attempt>();
  const sent = loaded.map((attempt) => roundsOf(attempt.trial, attempt.place));
  for (let round = 0; sent.some((rounds) => round < rounds.length); round++)
    await inLanes(LANES, [...loaded.entries()], async ([i, attempt]) => {
      const packets = sent[i]![round];
      if (!packets || failed.has(attempt)) return;
      const { device, peer } = attempt.place;
      try {
        await send(scratch, packets.from === 'peer' ? peer : device, packets.frames, packets.mark);
      } catch (error) {
        failed.add(attempt);
        const why = `it was accepted, but no packet could be sent: ${said(error)}`;
        findings[attempt.trial.capability] = { answer: 'unknown', why };
      }
    });
  const tried = loaded.filter((attempt) => !failed.has(attempt));
  for (const [{ trial }, how] of await settle(scratch, tried))
    findings[trial.capability] = { answer: 'no', why: `it was accepted, but ${trial.wrong} (${how})` };
}

const send = (scratch: Scratch, device: string, frames: readonly string[], mark?: number): Promise<string> =>
  scratch.run([INJECT, device, ...(mark === undefined ? [] : [`${mark}`])], `${frames.join('\n')}\n`);

/** Reads the counters until they show what they should, or time is over: those that do not, and how. */
async function settle(scratch: Scratch, attempts: readonly Attempt[]): Promise<Map<Attempt, string>> {
  const end = performance.now() + SETTLE_MS;
  for (;;) {
    const readings = await getReadings(scratch);
    const unmet = attempts.flatMap((attempt) => {
      const why = unmetBy(readings, attempt.trial, attempt.place);
      return why ? [{ attempt, ...why }] : [];
    });
    if (unmet.every(({ final }) => final) || performance.now() > end)
      return new Map(unmet.map(({ attempt, how }) => [attempt, how]));
    await new Promise((resolve) => setTimeout(resolve, 20));
  }
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
