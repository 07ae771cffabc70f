import type { Condition, Effect, Policy, Rule } from '../language/index.ts';
import { type Capability, type Command, HeadgateError, type Rate } from '../model/index.ts';
import type { LinkChange } from './change.ts';
import type { Datapath } from './datapath.ts';
import { type LinkShape, removeIfb } from './link.ts';
import { liveChain, liveEffects, type PacketEffect, type Way } from './live-effects.ts';
import { TABLE } from './names.ts';
import { chain } from './nft-chain.ts';
import { type Conjunction, disjunctiveForm } from './nft-conjunction.ts';
import { type Formula, formulaOf, type Place } from './nft-formula.ts';
import { formatMatches, NftSets } from './nft-match.ts';
import { commentOf, MOST_MATCHES, PLACES } from './nft-rules.ts';
import type { Operation } from './operation.ts';
import { TABLE_COMMENT, tableOperation } from './table.ts';

/** Families of the tables that copy packets: nft has no `dup` for both at once (nft(8), DUP STATEMENT). */
export const MIRROR_FAMILIES = ['ip', 'ip6'] as const;
export type MirrorFamily = (typeof MIRROR_FAMILIES)[number];

/** What the alias of a tap of ours says. */
export const TAP_ALIAS = 'headgate tap';

/** Behind every NAT hook: NF_IP_PRI_NAT_DST is -100, NF_IP_PRI_NAT_SRC 100. Copies are made of what was not dropped. */
const PRIORITIES = { police: { in: -90, out: 120 }, mirror: { in: -89, out: 121 } } as const;

/** A GRO packet must fit, or the first one of a flow would be over every rate. */
const GRO_BYTES = 65_536;

/** Names of the taps that the policy's rules copy packets to, each once. */
export const tapsOf = ({ rules }: Policy): string[] => [
  ...new Set(rules.flatMap(({ effects }) => effects.flatMap((e) => (e.kind === 'mirror' ? [e.tap] : [])))),
];

const has = ({ rules }: Policy, kind: PacketEffect): boolean =>
  rules.some(({ effects }) => effects.some((e) => e.kind === kind));

/** What the effects of rules need of the kernel, with the words for a message where it lacks that. */
export const wantedCapabilities = (policy: Policy): { readonly what: string; readonly capability: Capability }[] => [
  ...(has(policy, 'police') ? [{ what: 'police', capability: 'nft limit' } as const] : []),
  ...(has(policy, 'mirror') ? [{ what: 'mirror to a tap', capability: 'nft dup' } as const] : []),
];

/**
 * The operations that make the taps and what carries `mirror` and `police`: of kernel rules every packet of a flow is
 * asked, both ways, by the addresses and ports of its conntrack entry, so that one look fits the whole flow; of live ones it
 * is looked up in a set (live-effects.ts). To be run behind the table's. None where no rule has such an effect.
 *
 * A rate is one for all flows of the rule and for each direction by itself. nft counts in whole seconds: after a quiet
 * spell a second's worth may pass at once. What arrives is policed behind the link's queue: it has come over the line.
 *
 * @throws HeadgateError HG_NO_KERNEL where a rule looks at something that not every packet of a flow shows
 */
export function effectOperations(policy: Policy, shapes: readonly Pick<LinkShape, 'device'>[]): Operation[] {
  const tables = effectTables(policy, shapes);
  if (tables === '') return [];
  return [
    ...tapsOf(policy).map(addTap),
    {
      about: 'add nft chains for police and mirror',
      // The chains of the table inet go with it.
      command: { argv: ['nft', '-f', '-'], input: tables },
      undo: {
        argv: ['nft', '-f', '-'],
        input: MIRROR_FAMILIES.map((f) => `add table ${f} ${TABLE}\ndelete table ${f} ${TABLE}\n`).join(''),
      },
    },
  ];
}

/**
 * The operations that put a policy's tables in the place of another's: taps that are missing, then all of nft in one
 * transaction. `families` are those of our tables that are there.
 *
 * @throws HeadgateError as {@link effectOperations}
 */
export function replaceTables(from: Rules, to: Rules, families: readonly string[]): Operation[] {
  const command = ({ policy, shapes, datapath }: Rules, gone: readonly string[]): Command => {
    // Deleting wants it to be there (nft 1.0.6 knows no destroy).
    const empty = [...new Set(['inet', ...gone])].map((f) => `add table ${f} ${TABLE}\ndelete table ${f} ${TABLE}\n`);
    const tables = [tableOperation(policy, shapes, datapath).command.input, effectTables(policy, shapes)];
    return { argv: ['nft', '-f', '-'], input: [...empty, ...tables].join('') };
  };
  const there = tapsOf(from.policy);
  return [
    ...tapsOf(to.policy)
      .filter((tap) => !there.includes(tap))
      .map(addTap),
    {
      about: 'replace the nft tables',
      of: 'tables',
      command: command(to, families),
      undo: command(from, has(to.policy, 'mirror') ? MIRROR_FAMILIES : families),
    },
  ];
}

/**
 * The operations that put back what is missing of a policy's tables and taps: all of nft in one transaction. A table that
 * is there loses its counters.
 *
 * @param families as of {@link replaceTables}
 * @param taps those of the policy's that are there
 */
export function repairTables(rules: Rules, families: readonly string[], taps: readonly string[]): Operation[] {
  const missing = tapsOf(rules.policy).filter((tap) => !taps.includes(tap));
  const tables = replaceTables(rules, rules, families);
  return [...missing.map(addTap), ...tables.map(({ command }) => ({ about: 'put back the nft tables', command }))];
}

/**
 * Everything that changes a policy in force into another one, in place: what has to be done before the flows' marks are
 * those of the new one, and what is removed afterwards.
 *
 * @param families of tables of ours that copy to taps
 * @param links the changes of its links
 */
export function changePolicy(from: Rules, to: Rules, families: readonly string[], links: LinkChange): LinkChange {
  const gone = tapsOf(from.policy).filter((tap) => !tapsOf(to.policy).includes(tap));
  return {
    before: [...replaceTables(from, to, families), ...links.before],
    after: [
      ...links.after,
      ...gone.map((tap): Operation => ({ about: `remove tap ${tap}`, does: 'remove', command: removeIfb(tap) })),
    ],
  };
}

/** What the nft tables are made from. */
export interface Rules {
  readonly policy: Policy;
  readonly shapes: readonly Pick<LinkShape, 'device' | 'upload'>[];
  readonly datapath?: Pick<Datapath, 'marksOrigin' | 'leavesByNft' | 'field'> | undefined;
}

function effectTables(policy: Policy, shapes: readonly Pick<LinkShape, 'device'>[]): string {
  const links = shapes.map(({ device }) => `"${device}"`).join(', ');
  return [
    ...(has(policy, 'police') ? [table('inet', policy, 'police', links)] : []),
    ...(has(policy, 'mirror') ? MIRROR_FAMILIES.map((family) => table(family, policy, 'mirror', links)) : []),
  ].join('');
}

export const removeMirror = (family: MirrorFamily): Command => ({ argv: ['nft', 'delete', 'table', family, TABLE] });

/** Its MTU lets every packet in whole. It swallows what it is given; tcpdump has seen it by then. */
function addTap(tap: string): Operation {
  const lines = [
    `link add name ${tap} mtu 65535 type ifb`,
    `link set dev ${tap} alias "${TAP_ALIAS}"`,
    `link set dev ${tap} up`,
  ];
  return {
    about: `add tap ${tap}`,
    does: 'add',
    command: { argv: ['ip', '-batch', '-'], input: `${lines.join('\n')}\n` },
    undo: { argv: ['ip', 'link', 'del', tap] },
  };
}

const kernelRules = (policy: Policy): Rule[] => policy.rules.filter(({ tier }) => tier.kind === 'kernel');

/** Nobody is there: an ifb asks nobody for a hardware address (IFF_NOARP). The address must be no broadcast, and be on the link. */
const NEXT_HOP: Readonly<Record<MirrorFamily, string>> = { ip: '127.0.0.1', ip6: 'fe80::1' };

/** The chains of one kind of effect, as a table that `nft -f` reads, or adds to one that is there. */
function table(family: 'inet' | MirrorFamily, policy: Policy, kind: PacketEffect, links: string): string {
  const sets = new NftSets(`${kind}-addresses`);
  const families = ([4, 6] as const).filter((f) => family === 'inet' || (family === 'ip') === (f === 4));
  const places = PLACES.filter((place) => families.includes(place.family));
  const limits: string[] = [];
  const chains: string[] = [];
  const members: string[] = [];
  for (const way of ['in', 'out'] as const) {
    const jumps: string[] = [];
    for (const effect of liveEffects(policy).filter(({ kinds }) => kinds.includes(kind))) {
      const name = `${kind}-${way}-${effect.number}`;
      for (const one of effect.rule.effects)
        if (one.kind === kind) {
          chains.push(...chain(name, [statement(one, family, name) + commentOf(effect.rule)]));
          if (one.kind === 'police') limits.push(...limit(name, one.rate));
        }
      const live = liveChain(effect, kind, way, families);
      members.push(...live.sets);
      jumps.push(...live.jumps);
    }
    const actions = new Map<Rule, string>();
    for (const [i, rule] of kernelRules(policy).entries()) {
      const lines = rule.effects.flatMap((effect) =>
        effect.kind === kind ? [statement(effect, family, `police-${i + 1}-${way}`) + commentOf(rule)] : [],
      );
      if (lines.length === 0) continue;
      for (const effect of rule.effects)
        if (effect.kind === 'police' && kind === 'police') limits.push(...limit(`police-${i + 1}-${way}`, effect.rate));
      const name = `${kind}-${way}-${i + 1}`;
      actions.set(rule, name);
      chains.push(...chain(name, [...lines, ...(rule.queue === undefined ? [] : ['accept'])]));
    }
    for (const place of places) chains.push(...placeChains(policy, kind, way, place, actions, sets));
    chains.push(...chain(`${kind}-${way}`, base(kind, way, family, places, links, jumps)));
  }
  const comment = family === 'inet' ? [] : [`comment "${TABLE_COMMENT}"`];
  return `table ${family} ${TABLE} {\n${[...comment, ...limits, ...members, ...sets.lines, ...chains].map((line) => `  ${line}\n`).join('')}}\n`;
}

/** Where a packet enters: over a link, by the direction that says who opened its flow. */
function base(
  kind: PacketEffect,
  way: Way,
  family: 'inet' | MirrorFamily,
  places: readonly Place[],
  links: string,
  first: readonly string[],
): string[] {
  const hook = way === 'in' ? 'prerouting' : 'postrouting';
  const device = way === 'in' ? 'iifname' : 'oifname';
  const lines = places.map((place) => {
    const asked = (place.origin === 'local') === (way === 'out');
    // Of a table of one family nft refuses to ask it.
    const own = family === 'inet' ? `meta nfproto ipv${place.family} ` : '';
    return `${own}ct direction ${asked ? 'original' : 'reply'} goto ${nameOf(kind, way, place)}`;
  });
  return [
    `type filter hook ${hook} priority ${PRIORITIES[kind][way]}; policy accept;`,
    `${device} != { ${links} } accept`,
    ...first,
    ...lines,
  ];
}

const nameOf = (kind: PacketEffect, way: Way, { origin, family }: Place): string =>
  `${kind}-${way}-${origin}-${family}`;

/**
 * The rules of one place, in the order of the policy: those with the effect lead to its chain and back, and a rule
 * with a queue ends it, as it decides. A chain for each condition, so that what is true in two ways counts once.
 */
function placeChains(
  policy: Policy,
  kind: PacketEffect,
  way: Way,
  place: Place,
  actions: ReadonlyMap<Rule, string>,
  sets: NftSets,
): string[] {
  const name = nameOf(kind, way, place);
  const own: string[] = [];
  const conditions: string[] = [];
  const rules = kernelRules(policy);
  const last = rules.findLastIndex((rule) => actions.has(rule));
  for (const [i, rule] of rules.slice(0, last + 1).entries()) {
    const action = actions.get(rule);
    if (action === undefined && rule.queue === undefined) continue;
    const matches = matchesOf(rule, place);
    if (!matches) {
      if (action !== undefined) throw refuse(rule, kind);
      // As for the class: a rule that nft cannot ask is the pipeline's.
      continue;
    }
    const lines = matches.map((match) => `${formatMatches(match, place, sets)} goto ${action}`.trim());
    if (action === undefined) own.push(...matches.map((match) => `${formatMatches(match, place, sets)} accept`.trim()));
    else if (lines.length > 0) {
      conditions.push(...chain(`${name}-${i + 1}`, lines));
      own.push(`jump ${name}-${i + 1}`);
    }
  }
  return [...conditions, ...chain(name, own)];
}

/** The rule's condition as nft asks it of any packet of a flow; undefined where it cannot. */
function matchesOf({ when, until }: Rule, place: Place): readonly Conjunction[] | undefined {
  const condition: Condition = until ? { kind: 'and', terms: [when, { kind: 'not', term: until }] } : when;
  const formula = formulaOf(condition, place);
  return formula === undefined || looksAtFirstPacket(formula) ? undefined : disjunctiveForm(formula, MOST_MATCHES);
}

/** The code point and the inside device are those of the packet that opened the flow, which others need not have. */
function looksAtFirstPacket(formula: Formula): boolean {
  if (typeof formula === 'boolean') return false;
  if (formula.kind === 'and' || formula.kind === 'or') return formula.terms.some(looksAtFirstPacket);
  return (formula.kind === 'flag' && formula.opening) || (formula.kind === 'number' && formula.field === 'dscp');
}

const refuse = (rule: Rule, kind: PacketEffect): HeadgateError =>
  new HeadgateError('HG_NO_KERNEL', {
    what: `${kind} of rule ${rule.name} (line ${rule.line})`,
    problem: 'its condition is not one that nft can ask of each packet of a flow',
    needs: 'a shorter one, by origin, protocol, family, addresses, ports, zone or nat',
  });

function statement(effect: Effect, family: 'inet' | MirrorFamily, name: string): string {
  if (effect.kind === 'mirror' && family !== 'inet') return `dup to ${NEXT_HOP[family]} device "${effect.tap}"`;
  return `counter limit name "${name}" counter drop`;
}

/** Which way the policer goes whose chain this is; undefined for any other chain. Its rule counts what comes, then what it drops. */
export const policedWay = (chain: string): Way | undefined =>
  /^police-(in|out)-\d+$/.exec(chain)?.[1] as Way | undefined;

function limit(name: string, rate: Rate): string[] {
  const bytes = Math.max(1, Math.round(rate / 8));
  return [`limit ${name} {`, `  rate over ${bytes} bytes/second burst ${GRO_BYTES} bytes`, '}'];
}
