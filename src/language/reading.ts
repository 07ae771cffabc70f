// Face for those who read policies and decide nothing by them: the rest takes its time to load.
export { countErrors, type Diagnostic } from './diagnostic.ts';
export { formatDiagnostic } from './format-diagnostic.ts';
export { type ParsedPolicy, parsePolicy } from './parse-policy.ts';
export type { Policy, Rule } from './policy.ts';
export { formatSarif } from './sarif.ts';
export { usersNamedBy } from './unserved.ts';
