import { formatRate } from '../model/index.ts';
import { formatCondition } from './format-condition.ts';
import type { Policy, QueuePolicy, Rule } from './policy.ts';
import { findDefinitions, findName, findUses, type NamedThing, type OpenFile } from './service-files.ts';
import { WORDS } from './service-words.ts';
import type { Span } from './source.ts';

export interface Hover {
  /** What it is about. */
  readonly span: Span;
  /** Markdown. */
  readonly text: string;
}

/** What a hover can tell besides the text; each part may be absent. */
export interface HoverFacts {
  /** Of the whole policy; absent where it has errors. */
  readonly policy?: Policy | undefined;
  /** A kernel rule's form in the kernel, for a person. */
  readonly formatKernelRule?: ((rule: Rule, policy: Policy) => string | undefined) | undefined;
}

/** What there is to say about the name or word at a place. */
export function hover(
  files: readonly OpenFile[],
  file: OpenFile,
  offset: number,
  facts: HoverFacts = {},
): Hover | undefined {
  const token = file.tokens.tokens.find(({ start, end }) => start <= offset && offset < end);
  if (!token) return undefined;
  // The keyword speaks for the name behind it.
  const named = file.names.find((name) => name.statement?.start === token.start);
  const thing = findName(files, file, named ? named.start : offset);
  const span = { start: token.start, end: token.end };
  if (thing) return { span: named ? span : thing.at, text: describeThing(files, thing, facts) };
  const about = token.kind === 'word' && Object.hasOwn(WORDS, token.text) ? WORDS[token.text] : undefined;
  return about === undefined ? undefined : { span, text: `\`${token.text}\`: ${about}` };
}

function describeThing(files: readonly OpenFile[], thing: NamedThing, facts: HoverFacts): string {
  const { policy } = facts;
  if (thing.kind === 'rule') {
    const rule = policy?.rules.find(({ name }) => name === thing.name);
    if (policy && rule) return describeRule(rule, policy, facts);
  }
  if (thing.kind === 'queue') {
    const index = policy?.queues.findIndex(({ name }) => name === thing.name) ?? -1;
    if (policy && index >= 0) return describeQueue(policy.queues[index]!, policy);
  }
  const source = findDefinitions(files, thing).map(({ file, start }) =>
    file.source.slice(file.names.find((name) => name.start === start)!.statement!),
  );
  const uses = findUses(files, thing).length - source.length;
  return `${code(source[0] ?? thing.name)}\n\nUsed in ${uses} place${uses === 1 ? '' : 's'}.`;
}

function describeRule(rule: Rule, policy: Policy, { formatKernelRule }: HoverFacts): string {
  const { tier } = rule;
  const parts =
    tier.kind === 'kernel'
      ? [`**kernel rule** \`${rule.name}\`: decided at the flow's first packet, in the kernel.`]
      : [
          `**live rule** \`${rule.name}\`: decided again as the flow goes on, because of ${tier.because.map((w) => `\`${w}\``).join(', ')}.`,
        ];
  parts.push(code(formatRule(rule)));
  const kernel = tier.kind === 'kernel' ? formatKernelRule?.(rule, policy) : undefined;
  if (kernel) parts.push(code(kernel, ''));
  return parts.join('\n\n');
}

/** The rule as it was understood: names resolved, values in plain units. */
function formatRule({ when, queue, effects, until }: Rule): string {
  const condition = formatCondition(when);
  const actions = effects.map((effect) => {
    if (effect.kind === 'add') return `add ${effect.end} to ${effect.set} for ${effect.for / 1000}s`;
    return effect.kind === 'mirror' ? `mirror to ${effect.tap}` : `police ${formatRate(effect.rate)}`;
  });
  const lines = [
    ...(condition === '' ? [] : [`when ${condition}`]),
    `-> ${[...(queue === undefined ? [] : [queue]), ...actions].join(', ')}`,
    ...(until === undefined ? [] : [`until ${formatCondition(until)}`]),
  ];
  return lines.join('\n');
}

function describeQueue(queue: QueuePolicy, policy: Policy): string {
  const percent = (part: number) => `${Number((part * 100).toFixed(3))} %`;
  const { name, parent, share, ceiling } = queue;
  const origins = Object.entries(policy.defaults).filter(([, target]) => target === name);
  const rules = policy.rules.filter((rule) => rule.queue === name);
  const takes = [
    ...rules.map((rule) => `rule \`${rule.name}\``),
    ...origins.map(([origin]) => `what no rule matches and is \`${origin}\``),
  ];
  return [
    `**queue** \`${name}\`${parent === undefined ? '' : ` in \`${parent}\``}: sure of ${percent(share)}, at most ${percent(ceiling)}.`,
    takes.length === 0
      ? 'Nothing goes there.'
      : `Takes ${takes.slice(0, 20).join(', ')}${takes.length > 20 ? ', ...' : ''}.`,
  ].join('\n\n');
}

const code = (text: string, language = 'gate'): string => `\`\`\`${language}\n${text.slice(0, 4000)}\n\`\`\``;
