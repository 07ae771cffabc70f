import { getRootQdisc, listFilters, type NetDevice, type Where } from '../kernel/index.ts';
import { describeRoot, parseFormerAlias, type RootQdisc, writeOptions } from '../shape/index.ts';

/** What stood at a device's root before our tree, and where its copy stands. */
export interface FormerRoot {
  /** Of the device. */
  readonly index: number;
  readonly ifb: string;
  /** Undefined: the copy was not made yet, or somebody has taken it away. */
  readonly root: RootQdisc | undefined;
}

export async function listFormerRoots(devices: readonly NetDevice[], where: Where): Promise<FormerRoot[]> {
  const kept = devices.flatMap(({ kind, name, alias }) => {
    const index = kind === 'ifb' ? parseFormerAlias(alias) : undefined;
    return index === undefined ? [] : [{ index, ifb: name }];
  });
  return Promise.all(
    kept.map(async (former) => {
      const root = await readRoot(former.ifb, where);
      return { ...former, root: root && 'options' in root ? root : undefined };
    }),
  );
}

/** The root qdisc of a device, as it could be added again; or why it could not, for a message. Undefined: the kernel's own. */
export async function readRoot(
  device: string,
  where: Where = {},
): Promise<RootQdisc | { readonly found: string } | undefined> {
  const there = await getRootQdisc(device, where);
  if (!there || there.handle === '0:') return undefined;
  const { kind, handle, told } = there;
  const refuse = (reason: string) => ({ found: `${describeRoot(there)} (${reason})` });
  if (there.children > 0) return refuse('other qdiscs stand below it');
  if ((await listFilters(device, handle, where)).length > 0) return refuse('it has filters');
  const written = writeOptions(kind, there.options);
  return 'unknown' in written
    ? refuse(`its ${written.unknown} cannot be put back`)
    : { kind, handle, told, options: written.options };
}
