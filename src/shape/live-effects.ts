import type { Policy, Rule } from '../language/index.ts';
import type { Command, Family } from '../model/index.ts';
import { TABLE } from './names.ts';
import { MAX_TUPLES, type MapKey, TUPLE_TYPES, tupleMatch } from './nft-tuples.ts';

/** Effects that packets meet: nft carries them. */
export const PACKET_EFFECTS = ['police', 'mirror'] as const;
export type PacketEffect = (typeof PACKET_EFFECTS)[number];
/** Over a link, as seen from this side. */
export type Way = 'in' | 'out';

/** A live rule with such an effect, and the number by which its chains and sets are called. */
export interface LiveEffect {
  readonly rule: Rule;
  readonly number: number;
  readonly kinds: readonly PacketEffect[];
}

/** Those of a policy; their numbers come behind those of the kernel rules. */
export function liveEffects({ rules }: Policy): readonly LiveEffect[] {
  const first = rules.filter(({ tier }) => tier.kind === 'kernel').length + 1;
  return rules
    .flatMap((rule) => {
      const kinds = PACKET_EFFECTS.filter((kind) => rule.effects.some((effect) => effect.kind === kind));
      return rule.tier.kind === 'live' && kinds.length > 0 ? [{ rule, kinds }] : [];
    })
    .map((effect, i) => ({ ...effect, number: first + i }));
}

const tableOf = (kind: PacketEffect, family: Family): string =>
  `${kind === 'police' ? 'inet' : family === 4 ? 'ip' : 'ip6'} ${TABLE}`;
const setOf = (kind: PacketEffect, way: Way, number: number, family: Family): string =>
  `${kind}-${way}-${number}-flows${family}`;

/**
 * The sets of flows that meet the effect of a live rule, and the rules that send their packets to its chain, which comes
 * back. A packet is known by what it carries behind the NAT hooks; the pipeline fills the sets.
 */
export function liveChain(
  { number }: LiveEffect,
  kind: PacketEffect,
  way: Way,
  families: readonly Family[],
): { readonly sets: readonly string[]; readonly jumps: readonly string[] } {
  return {
    sets: families.flatMap((family) => [
      `set ${setOf(kind, way, number, family)} {`,
      `  type ${TUPLE_TYPES[family]}`,
      `  size ${MAX_TUPLES}`,
      '}',
    ]),
    jumps: families.map(
      (family) => `${tupleMatch(family)} @${setOf(kind, way, number, family)} jump ${kind}-${way}-${number}`,
    ),
  };
}

/** A flow that meets the effects of a live rule: what its packets carry one way. */
export interface Member extends MapKey {
  readonly effect: LiveEffect;
  readonly way: Way;
}

/** Puts flows into the sets of their rules, or takes them out where they are to have no number: all of them or none. */
export function changeMembers(changes: readonly { key: Member; to: number | undefined }[]): Command {
  const lines = changes.flatMap(({ key, to }) =>
    key.effect.kinds.map((kind) => {
      const set = `${tableOf(kind, key.family)} ${setOf(kind, key.way, key.effect.number, key.family)}`;
      return `${to === undefined ? 'delete' : 'add'} element ${set} { ${key.text} }`;
    }),
  );
  return { argv: ['nft', '-f', '-'], input: `${lines.join('\n')}\n` };
}

/** Empties all of those sets. */
export function flushMembers(effects: readonly LiveEffect[]): Command {
  const lines = effects.flatMap(({ number, kinds }) =>
    kinds.flatMap((kind) =>
      (['in', 'out'] as const).flatMap((way) =>
        ([4, 6] as const).map((family) => `flush set ${tableOf(kind, family)} ${setOf(kind, way, number, family)}`),
      ),
    ),
  );
  return { argv: ['nft', '-f', '-'], input: `${lines.join('\n')}\n` };
}
