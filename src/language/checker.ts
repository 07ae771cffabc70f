import { ORIGINS, type Origin } from '../model/index.ts';
import { checkExpects, readExpects } from './check-expect.ts';
import { checkLet } from './check-let.ts';
import { checkLinks } from './check-link.ts';
import { checkMarks } from './check-marks.ts';
import { reportOrigins } from './check-origins.ts';
import { checkQueues, type Queues } from './check-queue.ts';
import { checkQueueName, checkRules } from './check-rule.ts';
import { checkSet } from './check-set.ts';
import { reportTrees } from './check-tree.ts';
import type { DynamicSet, Policy } from './policy.ts';
import type { Scope, SetValue } from './scope.ts';
import { definedOf } from './settings.ts';
import type { Span } from './source.ts';
import type { DefaultSyntax, LetSyntax, OperandSyntax, RuleSyntax, SetSyntax, StatementSyntax } from './syntax.ts';
import { needsOf } from './tier.ts';
import { reportUnused } from './unused.ts';
import { isOneOf } from './vocabulary.ts';

/**
 * Checks a policy as written, and makes it a Policy when nothing, here or before, was an error, but for expectations
 * that do not hold.
 */
export function check(statements: readonly StatementSyntax[], empty: Scope): Policy | undefined {
  const of = <K extends StatementSyntax['kind']>(kind: K) =>
    statements.filter((s): s is Extract<StatementSyntax, { kind: K }> => s.kind === kind);
  const rules = of('rule');
  const { diagnostics, sources } = empty;
  const last = statements.findLast((statement) => sources.at(statement.start) === sources.all[0])?.end ?? 0;
  const end = { start: last, end: last };

  const named = statements.filter((s) => s.kind === 'set' || s.kind === 'let');
  const scope = checkNames(named, rules, empty);
  const links = definedOf(of('link'), scope);
  const queues = checkQueues(of('queue'), scope);
  const linkPolicies = checkLinks(links, scope);
  reportTrees(links, linkPolicies, queues, scope);
  const checked = checkRules(rules, queues, scope);
  const defaults = checkDefaults(of('default'), queues, end, scope);
  if (defaults) reportOrigins(links, linkPolicies, queues, defaults, scope);
  const marks = checkMarks(of('marks'), queues, scope);
  const expects = readExpects(of('expect'), queues, scope);
  if (links.length === 0 && of('link').length === 0) diagnostics.add('no-link', end, {});
  if (queues.names.size === 0 && of('queue').length === 0) diagnostics.add('no-queue', end, {});
  if (diagnostics.errors > 0 || !defaults) return undefined;

  const policy: Policy = freeze({
    file: sources.all[0]!.file,
    links: linkPolicies,
    queues: queues.policies,
    sets: dynamicSets(scope),
    rules: checked.map(({ rule }) => rule),
    defaults,
    expects: expects.map(({ expectation }) => expectation),
    marks,
    needs: needsOf(checked.map(({ rule }) => rule)),
  });
  // What was skipped for a mistake would be missed here.
  reportUnused(policy, checked, queues, named, scope);
  checkExpects(policy, expects, scope);
  return policy;
}

/** Sets and constants, which share their names. */
function checkNames(named: readonly (SetSyntax | LetSyntax)[], rules: readonly RuleSyntax[], empty: Scope): Scope {
  const lets = new Map<string, OperandSyntax>();
  const sets = new Map<string, SetValue | undefined>();
  const added = rules.flatMap(({ effects }) =>
    effects.flatMap((effect) => (effect.kind === 'add' ? [effect.set.text] : [])),
  );
  const dynamic = new Set(added.filter((name) => name !== undefined));
  const scope: Scope = { ...empty, lets, sets, dynamic };
  const defined = definedOf(named, scope);
  const names = defined.map(({ name }) => name.text);
  for (const statement of defined)
    if (statement.kind === 'let') lets.set(statement.name.text, checkLet(statement, names, scope));
  for (const statement of defined)
    if (statement.kind === 'set') sets.set(statement.name.text, checkSet(statement, scope));
  return scope;
}

const dynamicSets = ({ sets, dynamic }: Scope): readonly DynamicSet[] =>
  [...sets].flatMap(([name, value]) =>
    dynamic.has(name) && value?.type === 'address' ? [{ name, prefixes: value.values }] : [],
  );

/** The three defaults; undefined where one is missing or wrong. */
function checkDefaults(
  statements: readonly DefaultSyntax[],
  queues: Queues,
  end: Span,
  scope: Scope,
): Record<Origin, string> | undefined {
  const { diagnostics, sources } = scope;
  const seen = new Map<Origin, { span: Span; queue: string | undefined }>();
  let broken = statements.some((statement) => statement.entries.length === 0);
  for (const { origin: token, queue } of statements.flatMap((statement) => statement.entries)) {
    const origin = token.text;
    const name = checkQueueName(queue, queues, scope);
    if (!isOneOf(ORIGINS, origin)) broken = true;
    else {
      const first = seen.get(origin);
      if (first) diagnostics.add('duplicate-default', token, { origin, line: sources.lineFrom(token, first.span) });
      else seen.set(origin, { span: token, queue: name });
    }
  }
  const missing = ORIGINS.filter((origin) => !seen.has(origin));
  if (missing.length > 0 && !broken && queues.names.size > 0) {
    const leaf = queues.policies.find(({ name }) => !queues.inner.has(name))?.name ?? 'QUEUE';
    const example = missing.map((origin) => `${origin} -> ${leaf}`).join('  ');
    diagnostics.add('no-default', statements.at(-1) ?? end, { origins: missing.join(' and '), example });
  }
  const [local, remote, fresh] = ORIGINS.map((origin) => seen.get(origin)?.queue);
  if (local === undefined || remote === undefined || fresh === undefined) return undefined;
  return { local, remote, new: fresh };
}

/** Freezes a value all the way down; typed arrays cannot be. */
function freeze<T>(value: T): T {
  if (typeof value !== 'object' || value === null || ArrayBuffer.isView(value) || Object.isFrozen(value)) return value;
  Object.freeze(value);
  for (const part of Object.values(value)) freeze(part);
  return value;
}
