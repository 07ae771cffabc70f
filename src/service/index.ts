export { requestReload, requestStatus } from './control.ts';
export { bestDatapath, prepareDatapath, type WriteFiles } from './datapath.ts';
export * from './get-status.ts';
export { recover, takeDown } from './recover.ts';
export type { ReloadResult } from './reload.ts';
export * from './service.ts';
export { shapeHere } from './shape-here.ts';
export * from './status.ts';
