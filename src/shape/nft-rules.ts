import type { Condition, Policy, Rule } from '../language/index.ts';
import { type MarkField, markOfClass } from '../model/index.ts';
import { classOf } from './classes.ts';
import { disjunctiveForm } from './nft-conjunction.ts';
import { type Formula, formulaOf, join, type Place } from './nft-formula.ts';
import { formatMatches, NftSets } from './nft-match.ts';

/** Most nft rules that a condition is written out to before it gets a chain of its own. */
export const MOST_MATCHES = 64;

/** Most chains in a row: the kernel follows 16 (NFT_JUMP_STACK_SIZE, linux/netfilter/nf_tables.h), and we come by some. */
const MOST_STEPS = 10;

/** A chain of our table, without a hook: the rules as nft writes them. */
export interface NftChain {
  readonly name: string;
  readonly rules: readonly string[];
}

/** The kernel rules of a policy as nft. */
export interface NftRules {
  /** Declarations of named sets. */
  readonly sets: readonly string[];
  readonly chains: readonly NftChain[];
  /** The chain for the flows of each place, by its name; none where no rule concerns them. */
  readonly entries: ReadonlyMap<Place, string>;
  /** Kernel rules that nft cannot carry: the pipeline alone decides by them. */
  readonly left: readonly { readonly rule: Rule; readonly why: string }[];
}

export const PLACES: readonly Place[] = [
  { origin: 'local', family: 4 },
  { origin: 'local', family: 6 },
  { origin: 'remote', family: 4 },
  { origin: 'remote', family: 6 },
];

/**
 * Turns the kernel rules that have a queue into chains, one for each place: the first rule that matches sets our bits of the ct mark
 * to its queue's class, and touches no other. A flow whose rule sends it where its origin goes anyway keeps 0, as the
 * pipeline leaves it; unless the datapath wants every flow marked (`marksOrigin`). Live rules are passed over: their part is the pipeline's, which may later decide otherwise.
 */
export function compileRules(policy: Policy, field: MarkField, marksOrigin = false): NftRules {
  const sets = new NftSets();
  const chains: NftChain[] = [];
  const entries = new Map<Place, string>();
  const left = new Map<Rule, string>();
  for (const place of PLACES) {
    const writer = new ChainWriter(place, sets);
    let marks = false;
    for (const rule of policy.rules) {
      if (rule.tier.kind !== 'kernel' || rule.queue === undefined) continue;
      const formula = formulaOf(takenBy(rule), place);
      if (formula === undefined) left.set(rule, 'nft has no word for what it looks at');
      else {
        const stays = !marksOrigin && rule.queue === policy.defaults[place.origin];
        const action = stays ? 'accept' : `${setClass(field, classOf(policy, rule.queue))} accept`;
        const written = writer.write(formula, `${action}${commentOf(rule)}`);
        if (!written) left.set(rule, `its condition takes too many nft rules: write it as several`);
        else if (!stays && formula !== false) marks = true;
        // Nothing behind it is ever asked.
        if (formula === true) break;
      }
    }
    if (marksOrigin) writer.write(true, `${setClass(field, classOf(policy, policy.defaults[place.origin]))} accept`);
    else if (!marks) continue;
    chains.push(...writer.chains);
    entries.set(place, writer.name);
  }
  return { sets: sets.lines, chains, entries, left: [...left].map(([rule, why]) => ({ rule, why })) };
}

const takenBy = ({ when, until }: Rule): Condition =>
  until ? { kind: 'and', terms: [when, { kind: 'not', term: until }] } : when;

/** What stands behind a rule of nft, so that it says whose it is. nft keeps 128 characters of a comment. */
export const commentOf = ({ name }: Rule): string => (/^[\w.-]{1,100}$/.test(name) ? ` comment "${name}"` : '');

function setClass(field: MarkField, number: number): string {
  const others = (~field.mask >>> 0).toString(16).padStart(8, '0');
  return `ct mark set ct mark & 0x${others} | 0x${markOfClass(field, number).toString(16).padStart(8, '0')}`;
}

/** The chain of one place, and those that its longer conditions need. */
class ChainWriter {
  readonly name: string;
  readonly #place: Place;
  readonly #sets: NftSets;
  readonly #rules: string[] = [];
  readonly #chains: NftChain[] = [];

  constructor(place: Place, sets: NftSets) {
    this.name = `${place.origin}-${place.family === 4 ? 'ipv4' : 'ipv6'}`;
    this.#place = place;
    this.#sets = sets;
  }

  get chains(): readonly NftChain[] {
    return [...this.#chains, { name: this.name, rules: this.#rules }];
  }

  /** Adds the rules that do `action`, which ends all, where the formula holds. False, and nothing added: it cannot be had. */
  write(formula: Formula, action: string): boolean {
    const before = this.#chains.length;
    const made = this.#divide(formula, action);
    if (made) this.#rules.push(...made);
    else this.#chains.length = before;
    return made !== undefined;
  }

  #divide(formula: Formula, action: string): readonly string[] | undefined {
    const whole = this.#rulesOf(formula, action);
    if (whole || typeof formula === 'boolean') return whole;
    if (formula.kind === 'or') {
      const parts = formula.terms.map((term) => this.#divide(term, action));
      return parts.every((part) => part !== undefined) ? parts.flat() : undefined;
    }
    if (formula.kind !== 'and') return undefined;
    const steps = this.#stepsOf(formula.terms);
    if (!steps) return undefined;
    // One chain after the other: each leads to the next where its part holds, and ends, back to our rules, where not.
    const first = this.#chains.length + 1;
    const nameOf = (step: number) => `${this.name}-${first + step}`;
    for (const [i, step] of steps.entries()) {
      const next = i + 1 < steps.length ? `goto ${nameOf(i + 1)}` : action;
      this.#chains.push({ name: nameOf(i), rules: this.#rulesOf(step, next) ?? [] });
    }
    return [`jump ${nameOf(0)}`];
  }

  /** The terms in as few groups as can be, each short enough to be written out. */
  #stepsOf(terms: readonly Formula[]): readonly Formula[] | undefined {
    const steps: Formula[] = [];
    for (const term of terms) {
      const last = steps.at(-1);
      const both = last !== undefined && join('and', [last, term]);
      if (both !== false && disjunctiveForm(both, MOST_MATCHES)) steps[steps.length - 1] = both;
      else if (disjunctiveForm(term, MOST_MATCHES) && steps.length < MOST_STEPS) steps.push(term);
      else return undefined;
    }
    return steps;
  }

  #rulesOf(formula: Formula, action: string): readonly string[] | undefined {
    return disjunctiveForm(formula, MOST_MATCHES)?.map((conjunction) =>
      `${formatMatches(conjunction, this.#place, this.#sets)} ${action}`.trim(),
    );
  }
}
