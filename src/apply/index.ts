export * from './built.ts';
export * from './check.ts';
export * from './drain.ts';
export * from './inspect.ts';
export * from './read-back.ts';
export * from './run.ts';
export * from './standing.ts';
export * from './teardown.ts';
