export * from './address.ts';
export * from './capability.ts';
export * from './command.ts';
export * from './error.ts';
export * from './flow.ts';
export * from './machine.ts';
export * from './mark.ts';
export * from './rate.ts';
