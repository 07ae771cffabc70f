import {
  type Filter,
  type HookedChains,
  type IngressChain,
  isGone,
  listChains,
  listDevices,
  listFilters,
  listHookedChains,
  listQdiscs,
  type NetDevice,
  type Qdisc,
  run,
  type Where,
} from '../kernel/index.ts';
import type { MarkField } from '../model/index.ts';
import {
  ARRIVAL_FAMILY,
  fieldOfTable,
  formatHandle,
  HOOK_CHAIN,
  hooksOf,
  isOurFilter,
  MIRROR_FAMILIES,
  type MirrorFamily,
  type Ownership,
  parseAlias,
  shaperMajor,
  TABLE,
  TABLE_COMMENT,
  TAP_ALIAS,
  UPLOAD_MAJOR,
} from '../shape/index.ts';
import { type FormerRoot, listFormerRoots } from './root-qdisc.ts';

/** What of Headgate, and of others on its devices, is in the kernel now. Read from the kernel alone. */
export interface Scene {
  readonly devices: readonly NetDevice[];
  readonly qdiscs: readonly Qdisc[];
  /** Filters on a device's clsact or ingress qdisc; only devices that have one. */
  readonly hooks: ReadonlyMap<string, HookFilters>;
  /** Chains and flowtables that see what arrives before our redirect would take it, by whom they are. */
  readonly chains: readonly IngressChain[];
  /** Where NAT is done, or may be. */
  readonly nat: readonly string[];
  readonly ifbs: readonly OwnedIfb[];
  readonly table: Whose;
  /** The bits of the mark that our table says are in force; undefined where there is none. */
  readonly field: MarkField | undefined;
  /** The table of the datapath `map`, with a chain for each device. */
  readonly arrivals: Whose;
  /** The tables that copy packets to taps; those that are there. */
  readonly mirrors: ReadonlyMap<MirrorFamily, Whose>;
  /** Names of the taps that we made. */
  readonly taps: readonly string[];
  /** What stood at the roots of devices before our trees. */
  readonly formerRoots: readonly FormerRoot[];
}

export type Whose = 'none' | 'ours' | 'foreign';

export interface HookFilters {
  readonly ingress: readonly Filter[];
  /** Always empty where the qdisc is `ingress`. */
  readonly egress: readonly Filter[];
  /** The qdisc is one that we added. */
  readonly ours: boolean;
}

export interface OwnedIfb {
  readonly device: NetDevice;
  readonly ownership: Ownership;
}

export async function inspect(where: Where = {}): Promise<Scene> {
  const [devices, qdiscs, chains] = await Promise.all([listDevices(where), listQdiscs(where), listHookedChains(where)]);
  const [tables, ...hooks] = await Promise.all([
    getTables(chains.tables, where),
    ...qdiscs.filter(isIngressHook).map(async ({ device, kind }) => {
      const [ingress, egress, chained] = await Promise.all([
        listFilters(device, 'ingress', where),
        kind === 'clsact' ? listFilters(device, 'egress', where) : [],
        kind === 'clsact' && listChains(device, where).then((chains) => chains.includes(HOOK_CHAIN)),
      ]);
      return [device, { ingress, egress, ours: chained }] as const;
    }),
  ]);
  return {
    devices,
    qdiscs,
    hooks: new Map(hooks),
    chains: chains.ingress,
    nat: chains.nat,
    ifbs: devices.flatMap((device) => {
      const ownership = device.kind === 'ifb' ? parseAlias(device.alias) : undefined;
      return ownership ? [{ device, ownership }] : [];
    }),
    table: tables.get('inet')?.whose ?? 'none',
    field: tables.get('inet')?.field,
    arrivals: tables.get(ARRIVAL_FAMILY)?.whose ?? 'none',
    mirrors: new Map(MIRROR_FAMILIES.flatMap((f) => (tables.has(f) ? [[f, tables.get(f)!.whose]] : []))),
    taps: devices.filter(({ kind, alias }) => kind === 'ifb' && alias === TAP_ALIAS).map(({ name }) => name),
    formerRoots: await listFormerRoots(devices, where),
  };
}

export const isIngressHook = (q: Qdisc): boolean => q.kind === 'clsact' || q.kind === 'ingress';

/** Handle of our upload tree where it is the root of the qdisc's device, by which rarity it is known; undefined for others'. */
export function uploadMajor(q: Qdisc): number | undefined {
  const major = q.kind === 'tbf' ? shaperMajor(UPLOAD_MAJOR) : UPLOAD_MAJOR;
  return q.root && ROOTS.has(q.kind) && q.handle === formatHandle(major) ? major : undefined;
}

/** Of htb, prio (its shaper) and cake. */
const ROOTS = new Set(['htb', 'tbf', 'cake']);

export const isOurUpload = (q: Qdisc): boolean => uploadMajor(q) !== undefined;

export const isOurChain = ({ arrivals }: Scene, { name }: IngressChain): boolean =>
  arrivals === 'ours' && name.startsWith(`table ${ARRIVAL_FAMILY} ${TABLE} `);

/** What arrives on the device is sent to an ifb by us. */
export const isRedirected = (scene: Scene, device: string): boolean =>
  (scene.hooks.get(device)?.ingress.some(isOurFilter) ?? false) ||
  scene.chains.some((chain) => chain.device === device && isOurChain(scene, chain));

/** Our ifbs that a device leads to, as their aliases say. */
export const ifbsOf = ({ ifbs }: Pick<Scene, 'ifbs'>, device: string): OwnedIfb[] =>
  ifbs.filter(({ ownership }) => hooksOf(ownership).some((hook) => hook.device === device));

/** Our redirect leads to an ifb that is down, or gone: what arrives on the device is lost, but for what a deadline lets pass. */
export function leadsNowhere(scene: Scene, device: string): boolean {
  const ifbs = ifbsOf(scene, device);
  return isRedirected(scene, device) && (ifbs.length === 0 || ifbs.some((ifb) => !ifb.device.up));
}

/** What of others stands where a link's trees and redirect would: a root qdisc that they chose, filters at ingress, chains there. */
export const othersOn = (scene: Scene, device: string) => ({
  // What the kernel attaches by itself has handle 0: and comes back when ours goes.
  roots: scene.qdiscs.filter(
    (q) => q.device === device && q.root && q.handle !== '0:' && !isIngressHook(q) && !isOurUpload(q),
  ),
  filters: (scene.hooks.get(device)?.ingress ?? []).filter((filter) => !isOurFilter(filter)),
  chains: scene.chains.filter((chain) => chain.device === device && !isOurChain(scene, chain)),
});

/** Families of our tables that copy packets to taps. */
export const listOurMirrors = ({ mirrors }: Scene): MirrorFamily[] =>
  [...mirrors].flatMap(([family, whose]) => (whose === 'ours' ? [family] : []));

interface NamedTable {
  readonly whose: Whose;
  readonly field?: MarkField | undefined;
}

/** Those of the tables that have our name, by their family. */
async function getTables(tables: HookedChains['tables'], where: Where): Promise<Map<string, NamedTable>> {
  const own = tables.filter(({ name }) => name === TABLE);
  const named = own.map(async ({ family }): Promise<[string, NamedTable]> => {
    const text = await run(['nft', '--terse', 'list', 'table', family, TABLE], where).catch((error) => {
      // It has gone since it was listed.
      if (isGone(error)) return undefined;
      throw error;
    });
    if (text === undefined) return [family, { whose: 'none' }];
    return [family, { whose: text.includes(TABLE_COMMENT) ? 'ours' : 'foreign', field: fieldOfTable(text) }];
  });
  return new Map(await Promise.all(named));
}
