import { HeadgateError } from '../model/index.ts';
import { ifbName, type LinkShape, TABLE } from '../shape/index.ts';
import { isIngressHook, isOurFilter, isOurUpload, type Scene } from './inspect.ts';

/**
 * Makes sure that everything a link needs is there and free, before the first change.
 *
 * @throws HeadgateError HG_NO_DEVICE, HG_IFB_TAKEN, HG_QDISC_TAKEN, HG_FILTER_TAKEN, HG_CHAIN_TAKEN
 */
export function checkLink(shape: LinkShape, scene: Scene): void {
  const { device } = shape;
  if (!scene.devices.some((d) => d.name === device))
    throw new HeadgateError('HG_NO_DEVICE', { device, devices: scene.devices.map((d) => d.name).join(', ') });

  const ifb = ifbName(device);
  if (shape.download && scene.devices.some((d) => d.name === ifb) && !scene.ifbs.some((own) => own.device.name === ifb))
    throw new HeadgateError('HG_IFB_TAKEN', { ifb });

  // What the kernel attaches by itself has handle 0: and comes back when ours goes; anything else somebody chose.
  const root = scene.qdiscs.find((q) => q.device === device && q.root && !isIngressHook(q));
  if (shape.upload && root && root.handle !== '0:' && !isOurUpload(root))
    throw new HeadgateError('HG_QDISC_TAKEN', { device, found: `${root.kind} ${root.handle}` });

  const foreign = (scene.hooks.get(device)?.ingress ?? []).filter((f) => !isOurFilter(f));
  if (shape.download && foreign.length > 0)
    throw new HeadgateError('HG_FILTER_TAKEN', {
      device,
      found: [...new Set(foreign.map((f) => `pref ${f.pref} ${f.kind}`))].join(', '),
    });

  const chains = scene.chains.filter((c) => c.device === device).map((c) => c.name);
  if (shape.download && chains.length > 0)
    throw new HeadgateError('HG_CHAIN_TAKEN', { device, found: chains.join(', ') });
}

/** @throws HeadgateError HG_TABLE_TAKEN */
export function checkTable(scene: Scene): void {
  if (scene.table === 'foreign') throw new HeadgateError('HG_TABLE_TAKEN', { table: TABLE });
}
