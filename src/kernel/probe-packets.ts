import { INJECT } from './built.ts';
import { type Findings, tryOut, YES } from './probe-finding.ts';
import { getReadings, unmetBy } from './probe-readings.ts';
import { type Attempt, roundsOf } from './probe-trial.ts';
import type { Scratch } from './scratch.ts';

/** Part of a command's patience that packets have to be counted in once they were sent; only what loses them takes as long. */
const SETTLE = 1 / 5;

/** Sends each trial's packets, and settles by the counters what was accepted. */
export async function sendPackets(scratch: Scratch, attempts: readonly Attempt[], findings: Findings): Promise<void> {
  const open = attempts.filter(({ trial }) => findings[trial.capability]?.answer !== 'no');
  let unsent: string | undefined;
  for (let i = 0; i < 2; i++) {
    const lines = open.flatMap((attempt) => {
      const round = roundsOf(attempt)[i];
      return round ? [`> ${attempt.place[round.by]} ${round.mark ?? 0}`, ...round.frames] : [];
    });
    const sending = await tryOut(() => scratch.run([INJECT], `${lines.join('\n')}\n`));
    if (sending.answer !== 'yes') unsent ??= sending.why;
  }
  const unmet = new Map<Attempt, string>();
  const reading = await tryOut(async () => {
    for (const [attempt, how] of await settle(scratch, open)) unmet.set(attempt, how);
  });
  const untold = reading.answer === 'yes' ? unsent && `no packet could be sent: ${unsent}` : reading.why;
  for (const attempt of open) {
    const { capability, qdisc, ifb, arrives, counts, wrong } = attempt.trial;
    if (!(qdisc || ifb || arrives || counts)) continue;
    const how = unmet.get(attempt);
    if (reading.answer === 'yes' && how === undefined) findings[capability] = YES;
    else if (findings[capability]?.answer === 'yes')
      findings[capability] =
        untold === undefined
          ? { answer: 'no', why: `it was accepted, but ${wrong} (${how})` }
          : { answer: 'unknown', why: `it was accepted, but ${untold}` };
  }
}

/** Reads the counters until they show what they should, or time is over: the attempts that they do not bear out, and how. */
async function settle(scratch: Scratch, attempts: readonly Attempt[]): Promise<ReadonlyMap<Attempt, string>> {
  const end = performance.now() + scratch.patience * SETTLE;
  for (;;) {
    const readings = await getReadings(scratch);
    const unmet = attempts.flatMap((attempt) => {
      const why = unmetBy(readings, attempt);
      return why ? [{ attempt, ...why }] : [];
    });
    if (unmet.every(({ final }) => final) || performance.now() > end)
      return new Map(unmet.map(({ attempt, how }) => [attempt, how]));
    await new Promise((resolve) => setTimeout(resolve, 20));
  }
}
