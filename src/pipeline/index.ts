export * from './classifier.ts';
export * from './clear-marks.ts';
export * from './fact-source.ts';
export * from './facts.ts';
export * from './flow-table.ts';
export * from './pipeline.ts';
export * from './sides.ts';
export * from './tuple-map.ts';
