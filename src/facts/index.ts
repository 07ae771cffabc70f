export { nameSource } from './names.ts';
export type { KnownSource } from './source.ts';
export { processSource, whoSource } from './who.ts';
