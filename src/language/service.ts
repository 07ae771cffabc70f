// What editors ask for. A face of its own: each file costs half a millisecond to load, which `headgate check` should not pay.
export * from './service-complete.ts';
export * from './service-files.ts';
export * from './service-format.ts';
export * from './service-hover.ts';
export * from './service-rename.ts';
export * from './service-words.ts';
