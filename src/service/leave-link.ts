import { hookRemoval, inspect, putBackRoots } from '../apply/index.ts';
import { runCommand } from '../kernel/index.ts';
import type { Command } from '../model/index.ts';
import {
  type Datapath,
  type LinkShape,
  type LinkSite,
  parseAlias,
  removeIfb,
  removeUpload,
  rootMajor,
  UPLOAD_MAJOR,
} from '../shape/index.ts';

/** A link's part, and what was there before it. */
export interface LinkPart {
  readonly shape: LinkShape;
  readonly datapath: Datapath;
  readonly site: LinkSite | undefined;
}

/** What a link's part stood on, by the indices, which stay. */
export interface Stood {
  readonly device: number | undefined;
  readonly ifbs: readonly number[];
}

/** Takes a link's part from the device that has this name now, filter first; what went with it is no failure. */
export async function leaveLink({ shape, datapath, site }: LinkPart, device: string, on: Stood): Promise<void> {
  if (shape.ifbs.length > 0) {
    await tryCommand(datapath.unredirect(device, shape));
    await removeHook(site, device, 'leave');
  }
  if (shape.upload) await tryCommand(removeUpload(device, rootMajor(shape.upload, UPLOAD_MAJOR)));
  if (shape.replacesRoot && on.device !== undefined)
    for (const { command } of putBackRoots(await inspect(), on.device)) if (await tryCommand(command)) break;
  // Others may use shared ones still.
  if (on.ifbs.length === 0 || shape.shares !== undefined || shape.sharedBy.length > 0) return;
  const ours = (await inspect()).devices.filter((d) => on.ifbs.includes(d.index) && parseAlias(d.alias));
  for (const { name } of ours) await tryCommand(removeIfb(name));
}

/** Removes the clsact that we added. One that others use by now stays: theirs, or ours as long as we do not leave. */
export async function removeHook(site: LinkSite | undefined, device: string, how?: 'leave'): Promise<void> {
  const removal = site?.ingressHook ? undefined : hookRemoval(await inspect(), device);
  if (removal?.of === 'hook' || (removal && how === 'leave')) await tryCommand(removal.command);
}

/** Runs a removal; returns why it failed. */
export const tryCommand = (command: Command): Promise<Error | undefined> =>
  runCommand(command).then(
    () => undefined,
    (error: Error) => error,
  );
