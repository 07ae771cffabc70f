import { access } from 'node:fs/promises';
import { release } from 'node:os';
import { execute } from './command.ts';

/** Where a kernel module is to be had from, on this machine, for the running kernel. */
export type ModuleState =
  | { readonly state: 'built-in' }
  /** There is a file. `blocked`: what modprobe.d(5) says instead of loading it. */
  | { readonly state: 'file'; readonly path: string; readonly blocked?: string | undefined }
  | { readonly state: 'absent' };

/** True where the running kernel has a folder of modules; false for one without any, or one that was replaced since the boot. */
export const hasModules = (): Promise<boolean> =>
  access(`/lib/modules/${release()}`).then(
    () => true,
    () => false,
  );

/**
 * Asks kmod where the module is, and whether it may be loaded (`modinfo -n`, `modprobe -n -v`). Loads nothing.
 *
 */
export async function getModule(name: string): Promise<ModuleState> {
  const { status, stdout } = await execute(['modinfo', '-n', name]);
  const path = stdout.trim();
  if (status !== 0 || path === '') return { state: 'absent' };
  if (path === '(builtin)') return { state: 'built-in' };
  const { stdout: steps } = await execute(['modprobe', '-n', '-v', name]);
  const blocked = steps.split('\n').find((line) => line.startsWith('install '));
  return { state: 'file', path, blocked };
}
