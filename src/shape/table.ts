import type { Policy } from '../language/index.ts';
import { type Command, DEFAULT_MARK_FIELD, formatMark, type MarkField, markFieldOf, ownBits } from '../model/index.ts';
import { classPlanOf, creatingDevices, type Datapath } from './datapath.ts';
import type { LinkShape } from './link.ts';
import { TABLE } from './names.ts';
import { chain } from './nft-chain.ts';
import type { Place } from './nft-formula.ts';
import { leaveChain } from './nft-leave.ts';
import { nameChains } from './nft-names.ts';
import { openingChains } from './nft-opening.ts';
import { compileRules, type NftRules } from './nft-rules.ts';
import type { Operation } from './operation.ts';

/** Says whose the table is: checked before it is removed. */
export const TABLE_COMMENT = 'made by headgate';

/** The same with the bits of the mark that are in force, for whoever takes it down without knowing the policy. */
const commentOf = (field: MarkField): string => `${TABLE_COMMENT}, marks ${formatMark(ownBits(field))}`;

/** The bits of the mark that a listed table of ours says are in force; undefined where it says none. */
export function fieldOfTable(text: string): MarkField | undefined {
  const mask = new RegExp(`comment "${TABLE_COMMENT}, marks (0x[0-9a-f]{8})"`).exec(text)?.[1];
  return mask === undefined ? undefined : markFieldOf(Number(mask));
}

/** Behind every NAT hook (NF_IP_PRI_NAT_SRC is 100), before the entry is confirmed. */
const AFTER_NAT = 110;

/** Our one nft table, added whole or not at all. */
export function tableOperation(
  policy: Policy,
  shapes: readonly Pick<LinkShape, 'device' | 'upload'>[],
  { marksOrigin, leavesByNft, field }: Pick<Datapath, 'marksOrigin' | 'leavesByNft' | 'field'> = BY_PROGRAM,
): Operation {
  const devices = shapes.map(({ device }) => device);
  const uploads = leavesByNft ? shapes.filter(({ upload }) => upload !== undefined).map(({ device }) => device) : [];
  const more = [
    ...(policy.needs.dns ? nameChains(quoted(devices)) : []),
    ...(policy.needs.packets ? openingChains(quoted(devices)) : []),
    ...leaveChain(classPlanOf(policy, field), quoted(uploads)),
  ];
  return {
    about: `add nft table inet ${TABLE}`,
    command: {
      argv: ['nft', '-f', '-'],
      input: formatTable(compileRules(policy, field, marksOrigin), devices, field, more, [...creatingDevices(policy)]),
    },
    undo: removeTable(),
  };
}

const BY_PROGRAM = { marksOrigin: false, leavesByNft: false, field: DEFAULT_MARK_FIELD };

export function removeTable(): Command {
  return { argv: ['nft', 'delete', 'table', 'inet', TABLE] };
}

/**
 * The table, as `nft -f` reads it. An accept in our chains ends no other chain.
 *
 * `track` decides nothing: a rule that looks at `ct` is what makes the kernel track connections in this namespace at
 * all (nf_ct_netns_get), and without it every packet is `new`.
 *
 * The kernel rules are asked once in a flow's life: at its first packet, when that has passed all else, NAT included,
 * and its entry is about to be confirmed. Over which link it came or goes says who opened it. What another's rule has
 * written to our bits by then stays; so does the class that an expected connection inherits from its master.
 *
 * What arrives on the devices that are `creating` has its entry confirmed by then: its mark alone tells that it is new.
 */
export function formatTable(
  rules: NftRules,
  devices: readonly string[],
  field: MarkField = DEFAULT_MARK_FIELD,
  more: readonly string[] = [],
  creating: readonly string[] = [],
): string {
  const links = quoted(devices);
  const lines = [`comment "${commentOf(field)}"`, ...rules.sets, ...chain('track', TRACK)];
  const origins = new Set([...rules.entries.keys()].map(({ origin }) => origin));
  if (origins.size > 0 && links.length > 0) {
    const link = anyOf(links);
    const hook = (name: string) => `type filter hook ${name} priority ${AFTER_NAT}; policy accept;`;
    const remote = origins.has('remote') ? [`iifname ${link} goto remote`] : [];
    const local = origins.has('local') ? [`oifname ${link} goto local`] : [];
    for (const { name, rules: own } of rules.chains) lines.push(...chain(name, own));
    for (const origin of origins) lines.push(...chain(origin, firstPacket(rules, origin, field, quoted(creating))));
    if (remote.length > 0) lines.push(...chain('input', [hook('input'), ...remote]));
    // From link to link: neither side is ours.
    const between = `iifname ${link} oifname ${link} accept`;
    lines.push(...chain('postrouting', [hook('postrouting'), between, ...remote, ...local]));
  }
  lines.push(...more);
  return `table inet ${TABLE} {\n${lines.map((line) => `  ${line}\n`).join('')}}\n`;
}

/** All kernel rules of the policy are carried by nft, on all links: what it has decided needs nobody. */
export const nftCarriesAll = (policy: Policy, shapes: readonly Pick<LinkShape, 'device'>[]): boolean =>
  compileRules(policy, DEFAULT_MARK_FIELD).left.length === 0 && shapes.every(({ device }) => QUOTABLE.test(device));

const quoted = (devices: readonly string[]): string[] => devices.filter((device) => QUOTABLE.test(device)).map(quote);

/** Names that nft can be told; other devices' flows are left to the pipeline. */
const QUOTABLE = /^[^\s"\\]+$/;
/** A `*` at the end would stand for any ending. */
const quote = (device: string): string => `"${device.replace(/\*$/, '\\*')}"`;

const TRACK = ['type filter hook prerouting priority mangle; policy accept;', 'ct state invalid counter'];

/** An expected connection's first packet is `related`, and so is an ICMP error, whose entry is confirmed long since. */
function firstPacket(
  { entries }: NftRules,
  origin: Place['origin'],
  { mask }: MarkField,
  creating: readonly string[],
): string[] {
  const families = [...entries]
    .filter(([place]) => place.origin === origin)
    .map(([place, chain]) => `ipv${place.family} : goto ${chain}`);
  const go = `ct mark & 0x${mask.toString(16)} == 0 meta nfproto vmap { ${families.join(', ')} }`;
  return [
    `ct state new,related ct status & confirmed == 0 ${go}`,
    ...(origin === 'remote' && creating.length > 0 ? [`iifname ${anyOf(creating)} ct state new ${go}`] : []),
  ];
}

const anyOf = (devices: readonly string[]): string =>
  devices.length === 1 ? devices[0]! : `{ ${devices.join(', ')} }`;
