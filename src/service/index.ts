export { requestStatus } from './control.ts';
export * from './get-status.ts';
export * from './service.ts';
export * from './status.ts';
