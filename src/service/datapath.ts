import { createHash } from 'node:crypto';
import {
  addFiles,
  CLASSIFIER_OBJECT,
  type ClassifierConfig,
  ensureBtf,
  getFile,
  patchClassifier,
} from '../kernel/index.ts';
import type { Policy } from '../language/index.ts';
import { CAPABILITIES, type Capabilities, can, HeadgateError, type MarkField } from '../model/index.ts';
import {
  bpfDatapath,
  type ClassPlan,
  CREATES,
  chooseDatapath,
  classPlanOf,
  ctDatapath,
  type Datapath,
  type DatapathName,
  DOWNLOAD_MAJOR,
  handle,
  type LinkShape,
  ladderOf,
  mapDatapath,
  markDatapath,
  queuesPerOrigin,
  type Rung,
  UPLOAD_MAJOR,
} from '../shape/index.ts';

export interface PreparedDatapath {
  readonly datapath: Datapath;
  /** Paths of what was written for tc to read, to be removed when it is not needed any more. */
  readonly files: readonly string[];
}

/** Puts files where the commands will find them, and returns their paths by their names. */
export type WriteFiles = (files: Readonly<Record<string, Uint8Array>>) => Promise<Record<string, string>>;

const toDisk: WriteFiles = async (files) => {
  await ensureBtf();
  return addFiles(files);
};

/**
 * The datapath for a policy that names none: the best that works here. Where it could not be told of any, or where
 * nothing has to be shaped, `bpf`, whose failure then says why. For a link that says `conntrack create`, the one that can.
 *
 * @throws HeadgateError HG_NO_KERNEL where it is known that none works
 */
export function bestDatapath(capabilities: Capabilities, shapes: readonly LinkShape[]): DatapathName {
  const creating = shapes.find(({ creates }) => creates);
  if (creating) {
    ensureRung(CREATES, `conntrack create of link ${creating.link}`, capabilities);
    return CREATES;
  }
  const best = chooseDatapath(capabilities);
  if (best !== undefined) return best;
  const rungs = ladderOf(capabilities);
  if (
    rungs.some(({ answer }) => answer === 'unknown') ||
    shapes.every((shape) => !shape.upload && shape.ifbs.length === 0)
  )
    return 'bpf';
  throw missing('any datapath', rungs[0]!, capabilities);
}

/**
 * Makes sure, before anything is touched, that a datapath which somebody has named can work here.
 *
 * @throws HeadgateError HG_NO_BTF; HG_NO_KERNEL where it is known that it does not
 */
export async function ensureDatapath(name: DatapathName, capabilities: Capabilities): Promise<void> {
  if (name === 'bpf') await ensureBtf();
  ensureRung(name, `datapath ${name}`, capabilities);
}

function ensureRung(name: DatapathName, what: string, capabilities: Capabilities): void {
  const rung = ladderOf(capabilities).find(({ datapath }) => datapath === name)!;
  if (rung.answer === 'no') throw missing(what, rung, capabilities);
}

/** Of what can stand for each other the first is named. */
function missing(what: string, { lacks }: Rung, { findings }: Capabilities): HeadgateError {
  const first = lacks.map(([lack]) => lack!);
  const problems = first.map((lack) => {
    const finding = findings[lack];
    return `${lack}: ${finding.answer === 'yes' ? '' : finding.why.replace(/\.$/, '')}`;
  });
  const modules = new Set(first.flatMap((lack): readonly string[] => CAPABILITIES[lack].modules));
  return new HeadgateError('HG_NO_KERNEL', {
    what,
    problem: problems.join('; '),
    needs: `${[...modules].join(', ')} (headgate doctor says more)`,
  });
}

/**
 * The datapath of that name for a policy, with what it has to have on the disk. `generation` counts the policies of a run:
 * until the next one is in force, what the last one made is needed. Files go onto this machine's disk unless `write` does
 * otherwise.
 *
 * @throws HeadgateError HG_NO_BTF, HG_NO_SHIM, HG_NO_PLACE
 */
export async function prepareDatapath(
  name: DatapathName,
  policy: Policy,
  field: MarkField,
  generation: number,
  capabilities: Capabilities,
  write: WriteFiles = toDisk,
): Promise<PreparedDatapath> {
  const plan = classPlanOf(policy, field);
  switch (name) {
    case 'bpf':
      return prepareBpf(plan, picksOf(policy), generation, write);
    case 'ct':
      return { datapath: ctDatapath(plan, generation), files: [] };
    case 'map':
      return { datapath: mapDatapath(plan), files: [] };
    case 'mark':
      return {
        datapath: markDatapath(
          plan,
          can(capabilities, 'action connmark') && !can(capabilities, 'action ctinfo') ? 'connmark' : 'ctinfo',
          generation,
        ),
        files: [],
      };
  }
}

/** The classes of each ifb, where a link has several. */
const picksOf = (policy: Policy): (readonly number[])[] =>
  policy.links.some(({ ifbPer }) => ifbPer) ? queuesPerOrigin(policy).map(({ numbers }) => numbers) : [];

/**
 * Writes the classifier's objects, configured, for tc to read. Their names, which tc tells with the filter, say what is
 * in them: the program's own tag leaves the configuration out.
 */
async function prepareBpf(
  plan: ClassPlan,
  picks: readonly (readonly number[])[],
  generation: number,
  write: WriteFiles,
): Promise<PreparedDatapath> {
  const object = await getFile(CLASSIFIER_OBJECT);
  const made: (readonly [name: string, content: Uint8Array])[] = [];
  const add = (name: string, config: ClassifierConfig): string => {
    const content = patchClassifier(object, config);
    const file = `${name}-${createHash('sha256').update(content).digest('hex').slice(0, 12)}.bpf.o`;
    made.push([file, content]);
    return file;
  };
  const arriving = configOf(plan, DOWNLOAD_MAJOR);
  const picking = { ...arriving, major: arriving.major | (generation % 2 ? SECOND_SET : 0) };
  const ingress = add('ingress', arriving);
  const names = {
    ingress,
    egress: add('egress', configOf(plan, UPLOAD_MAJOR)),
    sort: picks.length > 0 ? add('sort', picking) : ingress,
    picks: picks.map((picked) => add('pick', { ...picking, picked })),
  };
  const paths = await write(Object.fromEntries(made));
  const objects = {
    ingress: paths[names.ingress]!,
    egress: paths[names.egress]!,
    sort: paths[names.sort]!,
    picks: names.picks.map((name) => paths[name]!),
  };
  return { datapath: bpfDatapath(objects, plan.field, generation), files: Object.values(paths) };
}

/** STEER_SECOND_SET (native-shim/bpf/steer.h). */
const SECOND_SET = 0x8000;

const configOf = ({ field, count, byOrigin }: ClassPlan, major: number): ClassifierConfig => ({
  major: handle(major, 0),
  markMask: field.mask,
  markShift: field.shift,
  highestClass: count,
  localClass: byOrigin.local,
  remoteClass: byOrigin.remote,
  newClass: byOrigin.new,
});
