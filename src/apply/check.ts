import type { Policy } from '../language/index.ts';
import { CAPABILITIES, type Capabilities, type CapabilitySource, HeadgateError } from '../model/index.ts';
import {
  ARRIVAL_FAMILY,
  type Datapath,
  describeRoot,
  ensureCreates,
  isPutBack,
  type LinkShape,
  TABLE,
  tapsOf,
  wantedCapabilities,
} from '../shape/index.ts';
import { othersOn, type Scene } from './inspect.ts';

/**
 * Makes sure that everything a link needs is there and free, before the first change.
 *
 * @throws HeadgateError HG_NO_DEVICE, HG_IFB_TAKEN, HG_QDISC_TAKEN, HG_FILTER_TAKEN, HG_CHAIN_TAKEN, HG_NAT_TAKEN
 */
export function checkLink(shape: LinkShape, scene: Scene, datapath: Pick<Datapath, 'name' | 'hook'>): void {
  const { device } = shape;
  const { hook } = datapath;
  if (!scene.devices.some((d) => d.name === device))
    throw new HeadgateError('HG_NO_DEVICE', { device, devices: namesOf(scene) });

  checkIfbs(shape, scene);
  checkRootFree(shape, scene);
  checkCreate(shape, scene, datapath);

  // What does not stand on the hook comes after all that others have there.
  if (shape.ifbs.length === 0 || !hook) return;
  const { filters: foreign } = othersOn(scene, device);
  if (foreign.length > 0)
    throw new HeadgateError('HG_FILTER_TAKEN', {
      device,
      found: [...new Set(foreign.map((f) => `pref ${f.pref} ${f.bpfName ?? f.kind}`))].join(', '),
    });

  const chains = passedBy(shape, scene, { hook });
  if (chains.length > 0 && !shape.bypass)
    throw new HeadgateError('HG_CHAIN_TAKEN', { device, found: chains.join(', ') });
}

/** Makes sure that the place of the upload's tree is not somebody else's, or is given up for it. @throws HeadgateError HG_QDISC_TAKEN */
export function checkRootFree(
  { device, upload, replacesRoot }: Pick<LinkShape, 'device' | 'upload' | 'replacesRoot'>,
  scene: Scene,
): void {
  const [root] = upload ? othersOn(scene, device).roots : [];
  if (!root || (replacesRoot && isPutBack(root.kind))) return;
  const why = replacesRoot ? ' (of a kind that cannot be put back)' : '';
  throw new HeadgateError('HG_QDISC_TAKEN', { device, found: `${describeRoot(root)}${why}` });
}

/** Makes sure that nobody else has devices of these names. @throws HeadgateError HG_IFB_TAKEN */
export function checkIfbs({ ifbs }: LinkShape, scene: Scene): void {
  for (const { name: ifb } of ifbs)
    if (scene.devices.some((d) => d.name === ifb) && !scene.ifbs.some((own) => own.device.name === ifb))
      throw new HeadgateError('HG_IFB_TAKEN', { ifb });
}

/**
 * Makes sure that no NAT is passed by where what arrives makes its conntrack entry.
 *
 * @throws HeadgateError HG_CREATE_DATAPATH, HG_NAT_TAKEN
 */
export function checkCreate(shape: LinkShape, scene: Scene, datapath: Pick<Datapath, 'name'>): void {
  ensureCreates(shape, datapath.name);
  if (shape.creates && scene.nat.length > 0)
    throw new HeadgateError('HG_NAT_TAKEN', { link: shape.link, found: scene.nat.join(', ') });
}

/** Names of other people's chains and flowtables that what arrives on the link does not pass any more when it is redirected. */
export const passedBy = (shape: LinkShape, scene: Scene, { hook }: Pick<Datapath, 'hook'>): string[] =>
  shape.ifbs.length === 0 || !hook ? [] : othersOn(scene, shape.device).chains.map(({ name }) => name);

/** The devices that are there, for a message. */
export const namesOf = ({ devices }: Pick<Scene, 'devices'>): string => devices.map(({ name }) => name).join(', ');

/** @throws HeadgateError HG_TABLE_TAKEN */
export function checkTable(scene: Scene): void {
  if (scene.table === 'foreign') throw new HeadgateError('HG_TABLE_TAKEN', { table: `inet ${TABLE}` });
}

/** The same for the datapath `map`. @throws HeadgateError HG_TABLE_TAKEN */
export function checkMap(scene: Scene): void {
  if (scene.arrivals === 'foreign') throw new HeadgateError('HG_TABLE_TAKEN', { table: `${ARRIVAL_FAMILY} ${TABLE}` });
}

/**
 * Makes sure that what carries the effects of kernel rules can be made, before the first change.
 *
 * @throws HeadgateError HG_NO_KERNEL, HG_TABLE_TAKEN, HG_IFB_TAKEN
 */
export function checkEffects(policy: Policy, scene: Scene, { findings }: Capabilities): void {
  const taps = tapsOf(policy);
  for (const [family, whose] of scene.mirrors)
    if (whose === 'foreign' && taps.length > 0)
      throw new HeadgateError('HG_TABLE_TAKEN', { table: `${family} ${TABLE}` });
  for (const ifb of taps)
    if (scene.devices.some(({ name }) => name === ifb) && !scene.taps.includes(ifb))
      throw new HeadgateError('HG_IFB_TAKEN', { ifb });
  for (const { what, capability } of wantedCapabilities(policy)) {
    const finding = findings[capability];
    const { modules, config }: CapabilitySource = CAPABILITIES[capability];
    const needs = `${modules.join(' and ')} (${config.join(', ')})`;
    // What could not be told is tried: what fails is undone.
    if (finding.answer === 'no') throw new HeadgateError('HG_NO_KERNEL', { what, problem: finding.why, needs });
  }
}
