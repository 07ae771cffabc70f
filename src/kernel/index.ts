export * from './bpf-object.ts';
export * from './command.ts';
export * from './files.ts';
export * from './local-socket.ts';
export * from './machine.ts';
export * from './netdev.ts';
export * from './shim/index.ts';
export * from './survey.ts';
