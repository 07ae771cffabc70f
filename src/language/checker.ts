import { ORIGINS, type Origin } from '../model/index.ts';
import { checkCondition, checkSet, type Scope, type SetValue } from './check-condition.ts';
import { readChoice, readDevice, readRate, readShare } from './check-value.ts';
import type { Diagnostics } from './diagnostic.ts';
import type { Token } from './lexer.ts';
import { didYouMeanOneOf } from './nearest.ts';
import type { Condition, LinkPolicy, Policy, QueuePolicy, Rule } from './policy.ts';
import { findShadows } from './shadow.ts';
import type { Source, Span } from './source.ts';
import type {
  DefaultSyntax,
  FileSyntax,
  LinkSyntax,
  NameSyntax,
  QueueSyntax,
  RuleSyntax,
  SetSyntax,
} from './syntax.ts';
import { isOneOf, LEAVES } from './vocabulary.ts';

/** Queues of a policy: class numbers 1..126 in the mark field. */
export const MAX_QUEUES = 126;

type Defined<S> = S & { readonly name: NameSyntax & { readonly text: string } };

/** Checks a policy as written, and makes it a Policy when nothing, here or before, was an error. */
export function check(file: FileSyntax, source: Source, diagnostics: Diagnostics): Policy | undefined {
  const of = <K extends FileSyntax['statements'][number]['kind']>(kind: K) =>
    file.statements.filter((s): s is Extract<FileSyntax['statements'][number], { kind: K }> => s.kind === kind);
  const [links, queues, sets, rules, defaults] = [of('link'), of('queue'), of('set'), of('rule'), of('default')];
  const last = file.statements.at(-1)?.end ?? 0;
  const end = { start: last, end: last };

  const scope: Scope = { source, diagnostics, sets: checkSets(sets, source, diagnostics), used: new Set() };
  const definedLinks = defined(links, 'link', source, diagnostics);
  const definedQueues = defined(queues, 'queue', source, diagnostics);
  const queueNames = new Set(definedQueues.map((queue) => queue.name.text));

  const policy = {
    file: source.file,
    links: checkLinks(definedLinks, source, diagnostics),
    queues: checkQueues(definedQueues, source, diagnostics),
    rules: checkRules(rules, queueNames, scope),
    defaults: checkDefaults(defaults, queueNames, end, source, diagnostics),
  };
  if (links.length === 0) diagnostics.add('no-link', end, {});
  if (queues.length === 0) diagnostics.add('no-queue', end, {});
  if (diagnostics.errors > 0 || !policy.defaults) return undefined;
  // What was skipped for a mistake would be missed here.
  reportUnused(policy.rules, policy.defaults, rules, definedQueues, sets, scope);
  return freeze({ ...policy, defaults: policy.defaults });
}

/** Those with a name, in the order of the file; a name given twice is reported, and the first counts. */
function defined<S extends LinkSyntax | QueueSyntax | SetSyntax | RuleSyntax>(
  statements: readonly S[],
  kind: string,
  source: Source,
  diagnostics: Diagnostics,
): readonly Defined<S>[] {
  const seen = new Map<string, Span>();
  return statements.filter((statement): statement is Defined<S> => {
    const name = statement.name.text;
    if (name === undefined) return false;
    const first = seen.get(name);
    if (first) {
      const { line } = source.position(first.start);
      diagnostics.add('duplicate-name', statement.name, { kind, name, line });
      return false;
    }
    seen.set(name, statement.name);
    return true;
  });
}

/** A block's settings by key; one given twice is reported, and the first counts. */
function settingsOf(block: LinkSyntax | QueueSyntax, source: Source, diagnostics: Diagnostics) {
  const settings = new Map<string, { key: Token; value: Token | undefined }>();
  for (const { key, value } of block.settings ?? []) {
    const first = settings.get(key.text);
    if (first) {
      const { line } = source.position(first.key.start);
      diagnostics.add('duplicate-setting', key, { setting: key.text, line });
    } else settings.set(key.text, { key, value });
  }
  return settings;
}

function checkLinks(links: readonly Defined<LinkSyntax>[], source: Source, diagnostics: Diagnostics): LinkPolicy[] {
  const devices = new Map<string, string>();
  return links.map((link) => {
    const settings = settingsOf(link, source, diagnostics);
    const at = (key: string) => settings.get(key)?.value;
    const [device, download, upload] = [at('device'), at('download'), at('upload')];
    const policy: LinkPolicy = {
      name: link.name.text,
      device: device && readDevice(device, diagnostics),
      download: download && readRate(download, 'download', diagnostics),
      upload: upload && readRate(upload, 'upload', diagnostics),
    };
    if (device && policy.device !== undefined) {
      const owner = devices.get(policy.device);
      if (owner === undefined) devices.set(policy.device, policy.name);
      else diagnostics.add('duplicate-device', device, { device: policy.device, link: owner });
    }
    return policy;
  });
}

function checkQueues(queues: readonly Defined<QueueSyntax>[], source: Source, diagnostics: Diagnostics): QueuePolicy[] {
  let sum = 0;
  return queues.map((queue, index) => {
    const name = queue.name.text;
    const settings = settingsOf(queue, source, diagnostics);
    const at = (key: string) => settings.get(key)?.value;
    const [shareToken, ceilingToken, leafToken] = [at('share'), at('ceiling'), at('leaf')];
    const share = shareToken && readShare(shareToken, 'share', diagnostics);
    const ceiling = ceilingToken && readShare(ceilingToken, 'ceiling', diagnostics);
    const leaf = leafToken && readChoice(leafToken, 'a leaf', LEAVES, diagnostics);

    if (index === MAX_QUEUES) diagnostics.add('too-many-queues', queue.name, { number: index + 1, most: MAX_QUEUES });
    if (queue.settings && !settings.has('share')) diagnostics.add('missing-share', queue.name, { name });
    if (share !== undefined && ceiling !== undefined && ceiling < share) {
      const fields = { name, ceiling: percent(ceiling), share: percent(share) };
      diagnostics.add('ceiling-below-share', ceilingToken!, fields);
    }
    const before = sum;
    sum += share ?? 0;
    // Thirds of 100% add up to a hair more in binary.
    if (sum > 1 + 1e-9 && before <= 1 + 1e-9) diagnostics.add('shares-over', shareToken!, { sum: percent(sum) });
    return { name, share: share ?? 0, ceiling: ceiling ?? 1, leaf };
  });
}

const percent = (part: number): number => Number((part * 100).toFixed(6));

function checkSets(sets: readonly SetSyntax[], source: Source, diagnostics: Diagnostics) {
  const values = new Map<string, SetValue | undefined>();
  const scope: Scope = { source, diagnostics, sets: values, used: new Set() };
  for (const set of defined(sets, 'set', source, diagnostics)) values.set(set.name.text, checkSet(set.value, scope));
  return values;
}

function checkRules(rules: readonly RuleSyntax[], queueNames: ReadonlySet<string>, scope: Scope): Rule[] {
  defined(rules, 'rule', scope.source, scope.diagnostics);
  const checked: Rule[] = [];
  for (const rule of rules) {
    const always: Condition = { kind: 'and', terms: [] };
    const when = rule.when ? checkCondition(rule.when, scope) : always;
    const queue = checkQueueName(rule.queue, queueNames, scope.diagnostics);
    const line = scope.source.position(rule.start).line;
    if (rule.name.text !== undefined && when && queue !== undefined)
      checked.push({ name: rule.name.text, when, queue, line });
  }
  return checked;
}

function checkQueueName(
  name: NameSyntax,
  queueNames: ReadonlySet<string>,
  diagnostics: Diagnostics,
): string | undefined {
  const text = name.text;
  if (text === undefined || queueNames.has(text)) return text;
  // Without a queue at all that is what is wrong.
  if (queueNames.size > 0)
    diagnostics.add('unknown-queue', name, { name: text }, () => didYouMeanOneOf(text, [...queueNames]));
  return undefined;
}

/** The three defaults; undefined where one is missing or wrong. */
function checkDefaults(
  statements: readonly DefaultSyntax[],
  queueNames: ReadonlySet<string>,
  end: Span,
  source: Source,
  diagnostics: Diagnostics,
): Record<Origin, string> | undefined {
  const seen = new Map<Origin, { span: Span; queue: string | undefined }>();
  let broken = statements.some((statement) => statement.entries.length === 0);
  for (const { origin: token, queue } of statements.flatMap((statement) => statement.entries)) {
    const origin = token.text;
    const name = checkQueueName(queue, queueNames, diagnostics);
    if (!isOneOf(ORIGINS, origin)) broken = true;
    else {
      const first = seen.get(origin);
      if (first) diagnostics.add('duplicate-default', token, { origin, line: source.position(first.span.start).line });
      else seen.set(origin, { span: token, queue: name });
    }
  }
  const missing = ORIGINS.filter((origin) => !seen.has(origin));
  if (missing.length > 0 && !broken && queueNames.size > 0) {
    const [first] = queueNames;
    const example = missing.map((origin) => `${origin} -> ${first}`).join('  ');
    diagnostics.add('no-default', statements.at(-1) ?? end, { origins: missing.join(' and '), example });
  }
  const [local, remote, fresh] = ORIGINS.map((origin) => seen.get(origin)?.queue);
  if (local === undefined || remote === undefined || fresh === undefined) return undefined;
  return { local, remote, new: fresh };
}

/** What is there and does nothing. */
function reportUnused(
  rules: readonly Rule[],
  defaults: Readonly<Record<Origin, string>>,
  ruleSyntax: readonly RuleSyntax[],
  queues: readonly Defined<QueueSyntax>[],
  sets: readonly SetSyntax[],
  { diagnostics, used }: Scope,
): void {
  const shadows = findShadows(rules);
  for (const [index, by] of shadows)
    diagnostics.add('shadowed-rule', ruleSyntax[index]!.name, { name: rules[index]!.name, by: by.name, line: by.line });
  const reached = new Set(Object.values(defaults));
  for (const [index, rule] of rules.entries()) if (!shadows.has(index)) reached.add(rule.queue);
  for (const { name } of queues)
    if (!reached.has(name.text)) diagnostics.add('unreached-queue', name, { name: name.text });
  for (const { name } of sets)
    if (name.text !== undefined && !used.has(name.text)) diagnostics.add('unused-set', name, { name: name.text });
}

/** Freezes a value all the way down; typed arrays cannot be. */
function freeze<T>(value: T): T {
  if (typeof value !== 'object' || value === null || ArrayBuffer.isView(value) || Object.isFrozen(value)) return value;
  Object.freeze(value);
  for (const part of Object.values(value)) freeze(part);
  return value;
}
