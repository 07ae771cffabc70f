import { formatEnd, protocolName } from '../model/index.ts';
import type { Explanation, Need, RuleExplanation, Term } from './explain.ts';

/**
 * An explanation for a person: a line for each rule, with what decided it, and at the end what became of the flow and
 * what would have to be otherwise.
 */
export function formatExplanation({ facts, decision, rules }: Explanation): string {
  const { origin } = facts;
  const [opener, answerer] = origin === 'remote' ? [facts.remote, facts.local] : [facts.local, facts.remote];
  const name = Math.max(0, ...rules.map(({ rule }) => rule.name.length));
  const line = Math.max(0, ...rules.map(({ rule }) => `${rule.line}`.length));
  const rows = rules.map((one) => {
    const mark = one.verdict === 'decides' ? '->' : '  ';
    const head = `${mark} ${one.rule.name.padEnd(name)}  line ${`${one.rule.line}`.padEnd(line)}  ${one.verdict.padEnd(7)}`;
    return `${head}  ${reason(one)}`.trimEnd();
  });
  const winner = rules.find(({ verdict }) => verdict === 'decides');
  const result = winner
    ? `queue ${decision.queue}, by rule ${winner.rule.name}`
    : `queue ${decision.queue}, the default of origin ${origin}: no rule takes the flow`;
  const advice = winner && leave(winner, rules);
  return [
    `${protocolName(facts.protocol)} ${formatEnd(opener)} -> ${formatEnd(answerer)} origin ${origin}`,
    '',
    ...rows,
    ...(rows.length > 0 ? [''] : []),
    result,
    ...(advice ? [advice] : []),
  ].join('\n');
}

function reason({ verdict, because, needs, behind, rule }: RuleExplanation): string {
  if (verdict === 'fails') return `needs ${needs ? formatNeeds(needs) : 'what no flow has'}`;
  const held = because.map(given).join(', ') || 'every flow';
  if (verdict === 'decides') return held;
  if (rule.queue === undefined) return `${held}; it has no queue to give`;
  return `${held}; too late, behind ${behind.map(({ name }) => name).join(', ')}`;
}

/** What would have to change for the flow to leave the rule that decides, and what then. */
function leave(winner: RuleExplanation, rules: readonly RuleExplanation[]): string | undefined {
  if (!winner.needs || winner.needs.length === 0) return undefined;
  const next = rules.find(({ verdict, rule }) => verdict === 'takes' && rule.queue !== undefined);
  const then = next ? `rule ${next.rule.name} comes next: ${next.rule.queue}` : 'no other rule takes it';
  const before = next ? rules.slice(0, rules.indexOf(next)) : rules;
  const unsure = before.filter(
    ({ verdict, rule, needs }) => verdict === 'fails' && rule.queue && needs?.every(mayHold),
  );
  const unless =
    unsure.length > 0 ? `, unless ${unsure.map(({ rule }) => rule.name).join(', ')}: not all is known` : '';
  return `it would leave that with ${formatNeeds(winner.needs)}; then ${then}${unless}`;
}

/** For all that is known, it may be met. */
const mayHold = (need: Need): boolean =>
  'oneOf' in need ? need.oneOf.some((way) => way.every(mayHold)) : need.value === undefined;

/** A term as it came out. What it says already is not said again. */
function given(term: Term): string {
  const text = `${term.holds ? '' : 'not '}${term.text}`;
  return term.holds && (term.text === term.value || term.text === `${term.subject} ${term.value}`)
    ? text
    : `${text} (${found(term)})`;
}

/** Ways of one choice that are written out; the rest is counted. */
const MOST_WAYS = 8;

/** What would have to come out otherwise: `tcp (it is udp); and one of: age > 5s (not known), local.port in 22 (it is 80)`. */
export function formatNeeds(needs: readonly Need[]): string {
  const terms = needs.flatMap((need) => ('oneOf' in need ? [] : [needed(need)]));
  const choices = needs.flatMap((need) => ('oneOf' in need ? [`one of: ${formatWays(need.oneOf)}`] : []));
  return [...(terms.length > 0 ? [terms.join(', ')] : []), ...choices].join('; and ');
}

function formatWays(ways: readonly (readonly Need[])[]): string {
  const texts = ways
    .slice(0, MOST_WAYS)
    .map((way) =>
      way.map((need) => ('oneOf' in need ? `(one of: ${formatWays(need.oneOf)})` : needed(need))).join(' and '),
    );
  return texts.join(', ') + (ways.length > MOST_WAYS ? `, and ${ways.length - MOST_WAYS} more` : '');
}

/** A term as it would have to come out. */
const needed = (term: Term): string => `${term.holds ? 'not ' : ''}${term.text} (${found(term)})`;

const found = ({ value }: Term): string => (value === undefined ? 'not known' : `it is ${value}`);
