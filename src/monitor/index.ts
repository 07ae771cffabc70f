export * from './exposition.ts';
export * from './filter.ts';
export * from './items.ts';
export * from './reader.ts';
export * from './ring.ts';
export * from './text.ts';
