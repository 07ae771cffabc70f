export { requestReload, requestStatus } from './control.ts';
export * from './get-status.ts';
export type { ReloadResult } from './reload.ts';
export * from './service.ts';
export * from './status.ts';
