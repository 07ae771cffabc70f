import { isGone, isOurPrinted } from '../kernel/index.ts';
import type { Policy } from '../language/index.ts';
import type { Argv } from '../model/index.ts';
import {
  ARRIVAL_FAMILY,
  formatHandle,
  MIRROR_FAMILIES,
  shaperMajor,
  TABLE,
  type TreePlace,
  tapsOf,
  UPLOAD_MAJOR,
} from '../shape/index.ts';

/** Runs a command in the network namespace that is looked at. @throws HeadgateError HG_KERNEL */
export type RunThere = (argv: Argv) => Promise<string>;

/** Where objects of ours can be. */
export interface Places {
  /** Devices of links. */
  readonly devices: readonly string[];
  /** Ifbs and taps. */
  readonly ifbs: readonly string[];
}

/**
 * What the kernel holds of ours, by object, in the tools' own words without what differs from one time to the next.
 * Equal words, equal objects: so a policy's objects can be made in another place, and compared with those in force.
 */
export async function listBuilt({ devices, ifbs }: Places, run: RunThere): Promise<Map<string, string>> {
  const tell = told(run);
  const objects: [string, Promise<string>][] = [
    ...ifbs.flatMap((ifb): [string, Promise<string>][] => [
      [`ifb ${ifb}`, tell(['ip', '-json', '-details', 'link', 'show', ifb]).then(plainLink)],
      [treeOn(ifb), listTree(ifb, tell, () => true)],
    ]),
    ...devices.flatMap((device): [string, Promise<string>][] => [
      [treeOn(device), listTree(device, tell, isOfUpload)],
      [`filters on ${device}`, listOurFilters(device, 'ingress', tell)],
      [`leaving filters on ${device}`, listOurFilters(device, formatHandle(UPLOAD_MAJOR), tell)],
    ]),
    ...TABLES.map((family): [string, Promise<string>] => [
      `table ${family} ${TABLE}`,
      tell(['nft', '--stateless', 'list', 'table', family, TABLE]),
    ]),
    // The pipeline fills its maps.
    [
      `table ${ARRIVAL_FAMILY} ${TABLE}`,
      tell(['nft', '--stateless', '--terse', 'list', 'table', ARRIVAL_FAMILY, TABLE]),
    ],
  ];
  const found = await Promise.all(objects.map(async ([name, text]) => [name, await text] as const));
  return new Map(found.filter(([, text]) => text !== ''));
}

/** The name of a tree's object. */
export const treeOn = (device: string): string => `tree on ${device}`;

const TABLES = ['inet', ...MIRROR_FAMILIES];

/** The same of a policy's tables alone, but for those that the pipeline fills; a set's elements may come and go. @throws HeadgateError HG_KERNEL */
export async function listTables(policy: Policy, run: RunThere): Promise<Map<string, string>> {
  const families = tapsOf(policy).length > 0 ? TABLES : ['inet'];
  const found = await Promise.all(
    families.map(async (family) => {
      const text = await told(run)(['nft', '--stateless', '--terse', 'list', 'table', family, TABLE]);
      return [`table ${family} ${TABLE}`, text] as const;
    }),
  );
  return new Map(found.filter(([, text]) => text !== ''));
}

/** The same of trees alone. @throws HeadgateError HG_KERNEL */
export async function listTrees(places: readonly TreePlace[], run: RunThere): Promise<Map<string, string>> {
  const found = places.map(
    async ({ device, major }) =>
      [treeOn(device), await listTree(device, told(run), major === UPLOAD_MAJOR ? isOfUpload : () => true)] as const,
  );
  return new Map(await Promise.all(found));
}

/** What is not there says nothing. */
const told =
  (run: RunThere): RunThere =>
  (argv) =>
    run(argv).catch((error) => {
      if (isGone(error)) return '';
      throw error;
    });

function plainLink(json: string): string {
  const [link] = json === '' ? [] : (JSON.parse(json) as Record<string, unknown>[]);
  if (!link) return '';
  const { ifalias, mtu, txqlen, num_tx_queues: queues, flags } = link;
  // Whose clsact it is depends on the place.
  const alias = String(ifalias).replace(/(clsact=|:)(ours|found)/g, '$1');
  return JSON.stringify({ alias, mtu, txqlen, queues, up: (flags as string[]).includes('UP') });
}

async function listTree(device: string, told: RunThere, isOurs: (line: string) => boolean): Promise<string> {
  const [qdiscs, classes] = await Promise.all(
    ['qdisc', 'class'].map((what) => told(['tc', '-details', what, 'show', 'dev', device])),
  );
  return (
    [...qdiscs!.split('\n').filter(isOurs), ...classes!.split('\n').filter(isOurs)]
      // Leaves that tell flows apart show those that they have at the moment as classes.
      .filter((line) => line !== '' && !/^(qdisc (noqueue|ingress|clsact)|class (fq_codel|sfq|cake)\b)/.test(line))
      .map(plainLine)
      .sort()
      .join('\n')
  );
}

const UPLOAD = [UPLOAD_MAJOR, shaperMajor(UPLOAD_MAJOR)].map((major) => formatHandle(major));
const isOfUpload = (line: string): boolean => UPLOAD.some((major) => line.includes(` ${major}`));

/** A leaf's quantum follows the device's MTU; the rest are counters. */
const plainLine = (line: string): string =>
  line
    .replace(/ (direct_packets_stat|direct_qlen|refcnt) \d+/g, '')
    .replace(/^(qdisc (?!htb).*?) quantum \w+/, '$1')
    .trimEnd();

async function listOurFilters(device: string, parent: string, told: RunThere): Promise<string> {
  const at = parent === 'ingress' ? [parent] : ['parent', parent];
  const text = await told(['tc', 'filter', 'show', 'dev', device, ...at]);
  return (
    text
      .split(/^filter /m)
      .filter((filter) => filter !== '')
      .filter((filter) => parent !== 'ingress' || isOurPrinted(filter))
      .map(plainFilter)
      // Chains are told in the order in which they came to be.
      .sort()
      .join('\n')
  );
}

/** Without the numbers that the kernel hands out. */
const plainFilter = (filter: string): string =>
  filter
    .replace(/\b(id|index|ref|bind) \d+/g, '')
    .replace(/\b(fh|ht) \S+/g, '')
    .replace(/\bparent \S+/g, '')
    .replace(/\s+/g, ' ')
    .trim();
