export * from './catalogue.ts';
export * from './decide.ts';
export type { Diagnostic } from './diagnostic.ts';
export * from './format-condition.ts';
export * from './format-diagnostic.ts';
export * from './override-link.ts';
export * from './parse-policy.ts';
export * from './policy.ts';
export type { Position, Range } from './source.ts';
