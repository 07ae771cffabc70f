export * from './items.ts';
export * from './text.ts';
