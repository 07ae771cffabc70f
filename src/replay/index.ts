export * from './compare.ts';
export * from './read.ts';
export * from './recorder.ts';
export { type RecordedFlow, Recording } from './recording.ts';
export * from './replay.ts';
