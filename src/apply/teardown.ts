import { runCommand, type Where } from '../kernel/index.ts';
import { type Command, HeadgateError } from '../model/index.ts';
import {
  ARRIVAL_FAMILY,
  HOOK_LOSS,
  hooksOf,
  isOurFilter,
  removeArrivals,
  removeClsact,
  removedClsact,
  removeFilters,
  removeHookChain,
  removeIfb,
  removeMirror,
  removeTable,
  removeUpload,
  TABLE,
  UNSHAPED,
} from '../shape/index.ts';
import { putBackRoots } from './former-root.ts';
import { inspect, listOurMirrors, type Scene, uploadMajor } from './inspect.ts';
import { checkRoot } from './read-back.ts';
import type { Removal } from './removal.ts';

/**
 * What has to go so that nothing of ours is left, in the one safe order: filters first, so that no redirect ever
 * points to a missing device. Pure; an empty list means there is nothing of ours.
 */
export function teardownOf(scene: Scene): Removal[] {
  const filters = [...scene.hooks].flatMap(([device, { ingress }]) => {
    const ours = ingress.filter(isOurFilter);
    // Of u32 only what somebody stands beside: where it goes by its handle, its table stays.
    const entries = ours
      .filter(({ chain }) => chain === 0)
      .map(({ pref, kind, handle = 0 }) => {
        const beside = ingress.some((filter) => filter.pref === pref && !ours.includes(filter));
        return { pref, kind, handle: kind === 'bpf' || beside ? handle : 0 };
      });
    const chains = new Set(ours.map(({ chain }) => chain).filter((chain) => chain !== 0));
    return ours.length > 0 ? [{ device, entries, chains: [...chains] }] : [];
  });
  const uploads = scene.qdiscs.flatMap((q) => {
    const major = uploadMajor(q);
    return major === undefined ? [] : [{ ...q, major }];
  });
  // The ifbs of one link say the same.
  const named = new Map(
    scene.ifbs.flatMap(({ ownership }) => hooksOf(ownership)).map((hook) => [hook.device, hook] as const),
  );
  const hooks = [...named.values()].flatMap(({ device, clsact }) => {
    const hooked = hookedDevice(
      scene,
      device,
      filters.map((filter) => filter.device),
    );
    return clsact ? [hooked] : [];
  });
  for (const [device, { ours }] of scene.hooks) if (ours) hooks.push(device);
  return [
    ...(scene.arrivals === 'ours'
      ? [
          {
            about: `remove nft table ${ARRIVAL_FAMILY} ${TABLE}, which redirects`,
            touches: UNSHAPED,
            command: removeArrivals(),
            of: 'hook' as const,
          },
        ]
      : []),
    ...filters.map(({ device, entries, chains }) => ({
      about: `stop redirecting what arrives on ${device}`,
      touches: UNSHAPED,
      command: removeFilters({ device, parent: 'ingress' }, entries, chains),
      of: 'hook' as const,
    })),
    ...uploads.map(({ device, major }) => ({
      about: `remove the tree on ${device}`,
      touches: 'what waits to leave is lost, and for milliseconds what leaves',
      command: removeUpload(device, major),
    })),
    ...putBackRoots(scene),
    ...[...new Set(hooks)].flatMap((device) => hookRemoval(scene, device) ?? []),
    // What copies to a tap goes before the tap.
    ...listOurMirrors(scene).map((family) => ({
      about: `remove nft table ${family} ${TABLE}`,
      command: removeMirror(family),
    })),
    ...scene.taps.map((tap) => ({ about: `remove tap ${tap}`, command: removeIfb(tap) })),
    ...scene.ifbs.map(({ device }) => ({
      about: `remove ifb ${device.name}`,
      touches: 'what waits in its queues is lost',
      command: removeIfb(device.name),
      of: 'ifb' as const,
    })),
    ...(scene.table === 'ours' ? [{ about: 'remove nft table inet headgate', command: removeTable() }] : []),
  ];
}

/** The device that an alias means: if it was renamed, the one that carries our filter and that no alias names. */
function hookedDevice(scene: Scene, device: string, filtered: readonly string[]): string {
  if (scene.hooks.has(device)) return device;
  const named = new Set(scene.ifbs.flatMap(({ ownership }) => hooksOf(ownership).map((hook) => hook.device)));
  return filtered.find((name) => !named.has(name)) ?? device;
}

/** How a clsact that we added goes, or, where somebody has put filters of their own there since, comes to be theirs; undefined where there is nothing to do. */
export function hookRemoval(scene: Scene, device: string): Removal | undefined {
  if (isBareHook(scene, device))
    return { about: `remove clsact from ${device}`, touches: HOOK_LOSS, command: removeClsact(device), of: 'hook' };
  if (!scene.hooks.get(device)?.ours) return undefined;
  return { about: `leave clsact on ${device} to others`, command: removeHookChain(device) };
}

/** There is a clsact or ingress qdisc, and nobody else has filters there. */
export function isBareHook({ hooks }: Pick<Scene, 'hooks'>, device: string): boolean {
  const hook = hooks.get(device);
  return hook !== undefined && hook.egress.length === 0 && hook.ingress.every(isOurFilter);
}

/** The command removes a clsact on which somebody else has filters by now, or may have. */
export async function losesFilters(command: Command, where: Where = {}): Promise<boolean> {
  const device = removedClsact(command);
  if (device === undefined) return false;
  return inspect(where).then(
    (scene) => scene.hooks.has(device) && !isBareHook(scene, device),
    () => true,
  );
}

/** Looks at what there is, at most: what failed once, as by a tool that hung, may go the second time. */
const PASSES = 2;

/**
 * Takes everything of ours down and returns what that was. Goes on where a removal fails, but for ifbs that something may
 * still be redirected to: those stay.
 *
 * @throws HeadgateError HG_KERNEL the first failure, where something is left at the end; HG_TREE_CHANGED: what was put back is not as it was
 */
export async function teardown(where: Where = {}): Promise<Removal[]> {
  const done: Removal[] = [];
  let failures: unknown[] = [];
  let changed: HeadgateError | undefined;
  for (let pass = 0; pass < PASSES; pass++) {
    const removals = await inspect(where).then(teardownOf, (error: unknown) => error);
    if (!Array.isArray(removals)) {
      failures.push(removals);
      continue;
    }
    failures = [];
    let [hooked, rootless] = [false, false];
    for (const removal of removals as Removal[]) {
      if ((removal.of === 'ifb' && hooked) || (removal.of === 'former' && rootless)) continue;
      try {
        await runCommand(removal.command, where);
        done.push(removal);
        if (removal.root) await checkRoot(removal.root, where);
      } catch (error) {
        if (error instanceof HeadgateError && error.code === 'HG_TREE_CHANGED') changed = error;
        else failures.push(error);
        hooked ||= removal.of === 'hook';
        rootless ||= removal.of === 'root';
      }
    }
    if (failures.length === 0) break;
  }
  if (changed) throw changed;
  if (failures.length === 0) return done;
  // An object may have gone by itself between the look and the removal: only what is still there is a failure.
  if (teardownOf(await inspect(where)).length > 0) throw failures[0];
  return done;
}
