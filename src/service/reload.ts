import { checkCreate, checkEffects, inspect, listOurMirrors, type RunOptions, runOperations } from '../apply/index.ts';
import { countErrors, type Diagnostic, type ParsedPolicy, type Policy } from '../language/index.ts';
import { type Capabilities, type ErrorCode, HeadgateError } from '../model/index.ts';
import { changePolicy, type Datapath, type LinkShape, type Operation, whyNotInPlace } from '../shape/index.ts';
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

/** A policy with the shapes of its links, and the datapath that was made for it. */
export interface Shaped {
  readonly policy: Policy;
  readonly shapes: readonly LinkShape[];
  readonly datapath: Datapath;
}

/**
 * Changes what is in the kernel from one policy to another, all of it or nothing, and the keepers with it. Returns what
 * is to be removed when the flows' marks are those of the new policy.
 *
 * @throws HeadgateError HG_RELOAD; as checkEffects and checkCreate do; HG_KERNEL
 */
export async function changeKernel(
  from: Shaped,
  to: Shaped,
  keepers: readonly LinkKeeper[],
  capabilities: Capabilities,
  journal: NonNullable<RunOptions['journal']>,
): Promise<readonly Operation[]> {
  const reason = whyNotInPlace(from.shapes, to.shapes);
  if (reason !== undefined) throw new HeadgateError('HG_RELOAD', { reason });
  const scene = await inspect();
  checkEffects(to.policy, scene, capabilities);
  for (const shape of to.shapes) checkCreate(shape, scene, to.datapath);
  const shapeOf = ({ shape }: LinkKeeper) => to.shapes.find(({ link }) => link === shape.link)!;
  const links = keepers.map((keeper) => keeper.change(shapeOf(keeper), to.datapath));
  const { before, after } = changePolicy(from, to, listOurMirrors(scene), links);
  await runOperations(before, { journal });
  for (const keeper of keepers) keeper.become(shapeOf(keeper), to.datapath);
  return after;
}
