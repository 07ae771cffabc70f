// Face for those who read and write files and nothing else: the shim, which the other one brings, takes time to load.
export * from './add-text.ts';
export * from './file-problem.ts';
export * from './get-text.ts';
export * from './lines.ts';
export * from './machine-facts.ts';
export * from './open-new.ts';
export * from './read-include.ts';
export * from './replace-text.ts';
