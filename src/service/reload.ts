import {
  checkCreate,
  checkEffects,
  checkIfbs,
  checkLink,
  checkRootFree,
  inspect,
  listOurMirrors,
  makeRoom,
  putBackRoots,
  type RunOptions,
  runOperations,
  type Scene,
  standingOf,
  undoSteps,
} from '../apply/index.ts';
import { countErrors, type Diagnostic, type ParsedPolicy, type Policy } from '../language/index.ts';
import { type Capabilities, type ErrorCode, HeadgateError } from '../model/index.ts';
import {
  type ChangedTree,
  changeLinks,
  changePolicy,
  type Datapath,
  type LinkShape,
  type Operation,
  putBackTree,
} from '../shape/index.ts';
import type { Wanted } from './applied.ts';
import type { Unconfirmed } from './confirmation.ts';
import type { LinkKeeper } from './link-keeper.ts';

/** Reads the policy anew, from where the running one came. @throws HeadgateError HG_FILE, HG_USAGE, HG_RELOAD */
export type LoadPolicy = () => Promise<ParsedPolicy>;

/** What a reload came to. With an `error` the running policy stays. */
export type ReloadResult = {
  readonly diagnostics: readonly Diagnostic[];
  /** The files of the policy by name, for the lines that the findings are about. */
  readonly texts: Readonly<Record<string, string>>;
} & (
  | {
      readonly policy: string;
      /** It is taken back unless it is confirmed. */
      readonly confirm?: Unconfirmed | undefined;
      /** Names of the links that could not be made to steer: what arrives there passes unshaped. */
      readonly open?: readonly string[] | undefined;
    }
  | { readonly error: { readonly code: ErrorCode; readonly fields: HeadgateError['fields']; readonly message: string } }
);

/** Loads the policy of `file` and changes to it; whatever fails is the result's error. */
export async function reloadPolicy(
  file: string,
  load: LoadPolicy,
  change: (policy: Policy) => Promise<void>,
): Promise<ReloadResult> {
  let found: Pick<ReloadResult, 'diagnostics' | 'texts'> = { diagnostics: [], texts: {} };
  try {
    const { policy, diagnostics, texts } = await load();
    found = { diagnostics, texts: Object.fromEntries(texts) };
    if (!policy) throw new HeadgateError('HG_POLICY', { file, count: countErrors(diagnostics) });
    await change(policy);
    return { ...found, policy: policy.file };
  } catch (error) {
    const { code, fields, message } =
      error instanceof HeadgateError ? error : new HeadgateError('HG_RELOAD', { reason: String(error) });
    return { ...found, error: { code, fields, message } };
  }
}

/**
 * Changes what is in the kernel from one policy to another, all of it or nothing, but for what somebody had changed of the
 * first: that is put back before, and stays so. Returns the keepers of the links that
 * there are now, and what is to be removed when the flows' marks are those of the new policy.
 *
 * @param changed what is not as it was made
 * @param add makes the keeper of a new link, whose part was made between the two looks
 *
 * @throws HeadgateError as checkEffects, checkLink and checkCreate do; HG_KERNEL, HG_FILTER_CHANGED, HG_TREE_CHANGED
 */
export async function changeKernel(
  from: Wanted,
  to: Wanted,
  changed: readonly ChangedTree[],
  keepers: readonly LinkKeeper[],
  add: (shape: LinkShape, was: Scene, scene: Scene) => LinkKeeper,
  capabilities: Capabilities,
  journal: NonNullable<RunOptions['journal']>,
): Promise<{ readonly keepers: readonly LinkKeeper[]; readonly after: readonly Operation[] }> {
  const scene = await inspect();
  for (const check of reloadChecks(from, to, scene, capabilities)) check();
  const absent = keepers.filter(({ deviceIndex }) => deviceIndex === undefined).map(({ shape }) => shape.device);
  const links = changeLinks(from, to, standingOf(scene, new Set(absent)));
  const { before, after } = changePolicy(from, to, listOurMirrors(scene), links);
  const hadUpload = ({ device }: LinkShape, { shapes }: Wanted) =>
    shapes.some((shape) => shape.device === device && shape.upload !== undefined);
  const room = await Promise.all(
    to.shapes.filter((shape) => !hadUpload(shape, from)).map((shape) => makeRoom(shape, scene)),
  );
  const steps = [...changed.map(putBackTree), ...room.flat(), ...before];
  await runOperations(steps, { journal });
  const made = await inspect().catch(async (error: unknown) => {
    await undoSteps(steps);
    throw error;
  });
  const next = to.shapes.map((shape) => {
    const old = keepers.find((keeper) => keeper.shape.device === shape.device);
    old?.become(shape, to.datapath, scene, made);
    return old ?? add(shape, scene, made);
  });
  const left = from.shapes.filter((shape) => shape.upload && !hadUpload(shape, to));
  const back = left.flatMap(({ device }) => {
    const index = scene.devices.find(({ name }) => name === device)?.index;
    return index === undefined ? [] : putBackRoots(scene, index);
  });
  return { keepers: next, after: [...after, ...back.map(({ of: _, ...step }): Operation => step)] };
}

/** What has to be so before the first change; each throws as checkEffects, checkLink and checkCreate do. */
export const reloadChecks = (from: Wanted, to: Wanted, scene: Scene, capabilities: Capabilities): (() => void)[] => [
  () => checkEffects(to.policy, scene, capabilities),
  ...to.shapes.map((shape) => () => checkShape(from.shapes, shape, scene, to.datapath)),
];

/**
 * Makes sure that a link can be changed: of one that is there already, what it has is ours; what it gets must be free.
 *
 * @throws HeadgateError as checkLink does
 */
function checkShape(from: readonly LinkShape[], shape: LinkShape, scene: Scene, datapath: Datapath): void {
  const old = from.find(({ device }) => device === shape.device);
  checkIfbs(shape, scene);
  if (!old || (shape.upload && !old.upload) || (shape.ifbs.length > 0 && old.ifbs.length === 0))
    checkLink(shape, scene, datapath);
  else {
    // What has taken the place of a tree of ours was never kept, to be put back.
    checkRootFree({ ...shape, replacesRoot: false }, scene);
    checkCreate(shape, scene, datapath);
  }
}
