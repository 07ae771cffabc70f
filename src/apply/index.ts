export * from './built.ts';
export * from './check.ts';
export * from './held.ts';
export * from './inspect.ts';
export * from './read-back.ts';
export * from './run.ts';
export * from './teardown.ts';
