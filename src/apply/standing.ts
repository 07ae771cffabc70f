import { hooksOf, type Standing } from '../shape/index.ts';
import { isRedirected, type Scene } from './inspect.ts';
import { isBareHook } from './teardown.ts';

/** What of the scene decides how links change. `absent`: devices of links that wait for theirs. */
export function standingOf(scene: Scene, absent: ReadonlySet<string> = new Set()): Standing {
  const ours = scene.ifbs.flatMap(({ ownership }) => hooksOf(ownership)).filter(({ clsact }) => clsact);
  return {
    absent,
    ifbs: new Map(scene.ifbs.map(({ device, ownership }) => [device.name, ownership])),
    hooks: new Set(scene.hooks.keys()),
    bareHooks: new Set(ours.map(({ device }) => device).filter((device) => isBareHook(scene, device))),
    redirected: new Set(scene.devices.map(({ name }) => name).filter((name) => isRedirected(scene, name))),
  };
}
