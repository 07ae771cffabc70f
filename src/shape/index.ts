export * from './link.ts';
export * from './names.ts';
export * from './operation.ts';
export * from './shape.ts';
export * from './table.ts';
export * from './tree.ts';
