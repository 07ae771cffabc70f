import { ifbsOf, inspect, isRedirected, type Scene, teardown, undoSteps, whyItStays } from '../apply/index.ts';
import { delFiles, delJournal, getJournal, Journal, MarkWriter, replaceRecord, runCommand } from '../kernel/index.ts';
import { conntrackDump } from '../kernel/sources.ts';
import type { MarkField } from '../model/index.ts';
import { clearMarks } from '../pipeline/index.ts';
import { leaveUnwatched } from './deadline.ts';
import { defaultIsFree } from './marks.ts';

/**
 * Finishes or takes back what a process that is no more was about: of a start nothing is left, of a reload the policy
 * before it, of a way down nothing. Then sees to it that no redirect leads to an ifb that is down or gone. Returns in
 * words what was done, nothing where all is well, and what is there then. Needs the place of the service ({@link acquireInstance}).
 */
export async function recover(): Promise<{ readonly done: readonly string[]; readonly scene: Scene }> {
  const taken = await takeBack();
  const scene = await inspect();
  const done = [...taken, ...(await openDeadEnds(scene))];
  return { done, scene: done.length === taken.length ? scene : await inspect() };
}

/** What was interrupted. */
async function takeBack(): Promise<string[]> {
  const journal = await getJournal();
  if (!journal) return [];
  // What it would have said of the way back is lost: nothing of ours stays.
  if (journal === 'damaged') return ['the journal is damaged', ...(await takeDown())];
  if (journal.kind === 'finish') {
    for (const { undo } of journal.steps) if (!(await whyItStays(undo))) await runCommand(undo).catch(() => {});
    await delJournal();
    return ['the reload was interrupted at its end; the policy after it is in force', ...journal.steps.map(toText)];
  }
  if (journal.kind !== 'reload')
    return [`the ${journal.kind === 'up' ? 'start' : 'way down'} was interrupted`, ...(await takeDown())];
  await undoSteps(journal.steps);
  // It may be all that anybody does: the redirect of before was made anew.
  await inspect()
    .then(leaveUnwatched)
    .catch(() => {});
  await replaceRecord('applied', journal.applied);
  await delJournal();
  return [
    'the reload was interrupted; the policy before it is in force',
    ...journal.steps.map(({ about }) => `take back: ${about}`).reverse(),
  ];
}

const toText = ({ about }: { readonly about: string }): string => about;

/** What is redirected to an ifb that is down is lost, and to one that is gone, too. */
async function openDeadEnds(scene: Scene): Promise<string[]> {
  const lost = scene.devices.filter(({ name }) => isRedirected(scene, name) && ifbsOf(scene, name).length === 0);
  if (lost.length > 0)
    return [`what arrives on ${lost.map(({ name }) => name).join(', ')} led nowhere`, ...(await takeDown())];
  const down = scene.ifbs.filter(({ device }) => !device.up);
  for (const { device } of down) await runCommand({ argv: ['ip', 'link', 'set', device.name, 'up'] });
  return down.map(({ device }) => `set ${device.name} up`);
}

/**
 * Takes everything of ours out of the kernel, and returns in words what it was.
 *
 * @param known the bits of the mark that are ours; absent: those that the kernel tells of
 */
export async function takeDown(known?: MarkField): Promise<string[]> {
  // Without our table nobody says which bits were ours.
  const field = known ?? (await inspect()).field ?? (await defaultIsFree());
  // Traffic first: without a place to write, it goes down all the same.
  const journal = await Journal.begin({ kind: 'down' }).catch(() => undefined);
  const removed = await teardown();
  await delFiles();
  await replaceRecord('applied', undefined);
  // Marks without our objects are not ours to touch.
  if (removed.length > 0 && field) await clearField(field).catch(() => clearField(field));
  await journal?.end();
  return removed.map(({ about }) => about);
}

/** Clears our bits of every flow's mark. */
export async function clearField(field: MarkField): Promise<void> {
  const marks = MarkWriter.open();
  await clearMarks(field, conntrackDump(), (requests) => marks.writeBatch(requests)).finally(() => marks.close());
}
