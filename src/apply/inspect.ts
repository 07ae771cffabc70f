import {
  type Filter,
  type IngressChain,
  listDevices,
  listFilters,
  listIngressChains,
  listQdiscs,
  type NetDevice,
  type Qdisc,
  run,
  type Where,
} from '../kernel/index.ts';
import { HeadgateError } from '../model/index.ts';
import {
  FILTER_PREF,
  formatHandle,
  type Ownership,
  parseAlias,
  TABLE,
  TABLE_COMMENT,
  UPLOAD_MAJOR,
} from '../shape/index.ts';

/** What of Headgate, and of others on its devices, is in the kernel now. Read from the kernel alone. */
export interface Scene {
  readonly devices: readonly NetDevice[];
  readonly qdiscs: readonly Qdisc[];
  /** Filters on a device's clsact or ingress qdisc; only devices that have one. */
  readonly hooks: ReadonlyMap<string, HookFilters>;
  /** Chains and flowtables that see what arrives before our redirect would take it, by whom they are. */
  readonly chains: readonly IngressChain[];
  readonly ifbs: readonly OwnedIfb[];
  readonly table: 'none' | 'ours' | 'foreign';
}

export interface HookFilters {
  readonly ingress: readonly Filter[];
  /** Always empty where the qdisc is `ingress`. */
  readonly egress: readonly Filter[];
}

export interface OwnedIfb {
  readonly device: NetDevice;
  readonly ownership: Ownership;
}

export async function inspect(where: Where = {}): Promise<Scene> {
  const [devices, qdiscs, table, chains] = await Promise.all([
    listDevices(where),
    listQdiscs(where),
    getTable(where),
    listIngressChains(where),
  ]);
  const hooks = await Promise.all(
    qdiscs.filter(isIngressHook).map(async ({ device, kind }) => {
      const ingress = await listFilters(device, 'ingress', where);
      const egress = kind === 'clsact' ? await listFilters(device, 'egress', where) : [];
      return [device, { ingress, egress }] as const;
    }),
  );
  return {
    devices,
    qdiscs,
    hooks: new Map(hooks),
    chains,
    ifbs: devices.flatMap((device) => {
      const ownership = device.kind === 'ifb' ? parseAlias(device.alias) : undefined;
      return ownership ? [{ device, ownership }] : [];
    }),
    table,
  };
}

export const isIngressHook = (q: Qdisc): boolean => q.kind === 'clsact' || q.kind === 'ingress';

/** Our upload tree is a device's root by its rare handle. */
export const isOurUpload = (q: Qdisc): boolean => q.root && q.kind === 'htb' && q.handle === formatHandle(UPLOAD_MAJOR);

export const isOurFilter = (f: Filter): boolean => f.kind === 'bpf' && f.pref === FILTER_PREF;

async function getTable(where: Where): Promise<Scene['table']> {
  const tables = await run(['nft', 'list', 'tables'], where);
  if (!tables.split('\n').includes(`table inet ${TABLE}`)) return 'none';
  const text = await run(['nft', 'list', 'table', 'inet', TABLE], where).catch((error) => {
    // It has gone since it was listed.
    if (error instanceof HeadgateError && error.code === 'HG_KERNEL') return undefined;
    throw error;
  });
  if (text === undefined) return 'none';
  return text.includes(TABLE_COMMENT) ? 'ours' : 'foreign';
}
