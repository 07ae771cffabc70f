import { readFile } from 'node:fs/promises';
import { type Argv, HeadgateError, listSoftwareUses, type MarkUse } from '../model/index.ts';
import { TABLE, TABLE_COMMENT } from '../shape/index.ts';
import { run, type Where } from './command.ts';
import { listLegacyTables } from './legacy-tables.ts';
import { type IptablesMarks, readIptablesMarks } from './mark-iptables.ts';
import {
  keyOfReference,
  listFamilies,
  listMarkSets,
  type NftElements,
  type NftMarks,
  readNftMarks,
} from './mark-nft.ts';
import { readRuleMarks } from './mark-routing.ts';
import { readTcMarks, type TcMarks } from './mark-tc.ts';
import { readXfrmMarks } from './mark-xfrm.ts';
import { listDevices, listQdiscs, type NetDevice, type Qdisc } from './netdev.ts';

/** Who else uses marks in a network namespace. */
export interface MarkSurvey {
  readonly uses: readonly MarkUse[];
  /** What could not be looked at, or is not understood, as phrases. */
  readonly unseen: readonly string[];
}

/** What somebody has read just now, and need not be read again. */
interface Seen {
  readonly devices?: readonly NetDevice[] | undefined;
  readonly qdiscs?: readonly Qdisc[] | undefined;
}

/**
 * Finds which bits of packets' and flows' marks others use: the rules of nft and iptables (both kinds), of routing, of
 * IPsec and of tc, and software that is known to use some, by its traces. BPF programs and sockets (SO_MARK) tell nothing of theirs.
 *
 * @throws HeadgateError HG_NO_TOOL, HG_KERNEL
 */
export async function surveyMarks(where: Where = {}, seen: Seen = {}): Promise<MarkSurvey> {
  const [nft, rules4, rules6, xfrm, tc, devices] = await Promise.all([
    surveyNft(where).catch((error): NftMarks => {
      // One that was built without JSON.
      if (!(error instanceof HeadgateError) || error.code !== 'HG_KERNEL') throw error;
      return { uses: [], names: [], xtables: false, unseen: [`rules of nft: ${error.message}`] };
    }),
    run(['ip', '-4', '-json', 'rule', 'show'], where),
    // A kernel without IPv6 has no rules of it.
    run(['ip', '-6', '-json', 'rule', 'show'], where).catch(() => ''),
    surveyXfrm(where),
    surveyTc(seen.qdiscs ?? listQdiscs(where), where),
    seen.devices ?? listDevices(where),
  ]);
  const tables = await surveyIptables(nft.xtables, where);
  const names = [...nft.names, ...tables.found.flatMap((t) => t.names)];
  const known = listSoftwareUses({ names, devices: devices.map(({ name }) => name) });
  const routing = [...readRuleMarks(rules4, 4), ...readRuleMarks(rules6, 6)].map((use) => named(use, known));
  return {
    uses: [...nft.uses, ...tables.found.flatMap((t) => t.uses), ...routing, ...xfrm.uses, ...tc.uses, ...known],
    unseen: [...nft.unseen, ...tables.found.flatMap((t) => t.unseen), ...tables.unseen, ...xfrm.unseen, ...tc.unseen],
  };
}

/** A rule of routing has no name: it is taken for that of software whose bits it looks at. */
function named(use: MarkUse, known: readonly MarkUse[]): MarkUse {
  const owner = known.find(({ bits }) => use.whole === undefined && (use.bits & ~bits) === 0);
  return owner ? { ...use, who: owner.who } : use;
}

async function surveyNft(where: Where): Promise<NftMarks> {
  // Marks can have names (/etc/iproute2/rt_marks): numbers are asked for. Elements of large sets take seconds to be written out; those of sets of marks are asked for.
  const ruleset = await json(['nft', '-n', '-j', '-s', '-t', 'list', 'ruleset'], where);
  const elements = await Promise.all(
    listMarkSets(ruleset).map(async (set): Promise<[string, readonly unknown[] | undefined]> => {
      const argv = ['nft', '-n', '-j', 'list', set.kind, set.family, set.table, set.name] as const;
      const listed = await json(argv, where).catch(() => undefined);
      const objects = (listed as { nftables?: Record<string, { elem?: unknown[] }>[] } | undefined)?.nftables;
      return [keyOfReference(set), objects?.flatMap((object) => object[set.kind]?.elem ?? [])];
    }),
  );
  const own = listFamilies(ruleset, TABLE).map(async (family) => {
    // Its JSON leaves comments out (nft 1.0.6).
    const text = await run(['nft', '-t', 'list', 'table', family, TABLE], where).catch(() => '');
    return text.includes(TABLE_COMMENT) ? [`${family} ${TABLE}`] : [];
  });
  const ours = new Set((await Promise.all(own)).flat());
  return readNftMarks(ruleset, new Map(elements) satisfies NftElements, ours);
}

/** Those of the kernel's own tables, and those that nft holds in a form that its listing leaves blank. */
async function surveyIptables(xtables: boolean, where: Where): Promise<{ found: IptablesMarks[]; unseen: string[] }> {
  const found: IptablesMarks[] = [];
  const unseen: string[] = [];
  for (const tool of ['iptables', 'ip6tables'] as const) {
    const legacy = (await listLegacyTables(tool, where)).length > 0;
    for (const kind of [...(xtables ? ['nft'] : []), ...(legacy ? ['legacy'] : [])])
      try {
        found.push(readIptablesMarks(await run([`${tool}-${kind}-save`], where), tool));
      } catch (error) {
        if (!(error instanceof HeadgateError)) throw error;
        unseen.push(`rules of ${tool}-${kind}, for ${tool}-${kind}-save cannot be run: ${error.message}`);
      }
  }
  return { found, unseen };
}

/** Asking `ip xfrm` loads its module: where it has no socket of its own, nobody has made policies by it. */
async function surveyXfrm(where: Where): Promise<{ uses: MarkUse[]; unseen: string[] }> {
  const file = '/proc/thread-self/net/netlink';
  const read = where.netns === undefined ? readFile(file, 'utf8') : run(['cat', file], where);
  const sockets = await read.catch(() => '');
  if (!sockets.split('\n').some((line) => line.split(/\s+/)[1] === NETLINK_XFRM)) return { uses: [], unseen: [] };
  try {
    const policies = await run(['ip', 'xfrm', 'policy', 'list'], where);
    const states = await run(['ip', 'xfrm', 'state', 'list', 'nokeys'], where);
    return { uses: [...readXfrmMarks(policies, 'policy'), ...readXfrmMarks(states, 'state')], unseen: [] };
  } catch (error) {
    if (!(error instanceof HeadgateError)) throw error;
    return { uses: [], unseen: [`policies of IPsec: ${error.message}`] };
  }
}

/** Its number, as /proc/net/netlink writes it: linux/netlink.h. */
const NETLINK_XFRM = '6';

async function surveyTc(qdiscs: readonly Qdisc[] | Promise<readonly Qdisc[]>, where: Where): Promise<TcMarks> {
  const places = (await qdiscs).flatMap(({ device, kind, handle }): [string, string[]][] => {
    if (kind === 'clsact') return ['ingress', 'egress'].map((way) => [device, [way]]);
    if (kind === 'ingress') return [[device, ['ingress']]];
    return handle === '0:' ? [] : [[device, ['parent', handle]]];
  });
  const texts = places.map(async ([device, at]): Promise<TcMarks> => {
    // Classless qdiscs have none, and devices go.
    const text = await run(['tc', 'filter', 'show', 'dev', device, ...at] as Argv, where).catch(() => '');
    return readTcMarks(text, device);
  });
  const found = await Promise.all(texts);
  return { uses: found.flatMap(({ uses }) => uses), unseen: found.flatMap(({ unseen }) => unseen) };
}

const json = async (argv: Argv, where: Where): Promise<unknown> => JSON.parse((await run(argv, where)) || '{}');
