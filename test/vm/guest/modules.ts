// Kernel modules that go, on a kernel of the guest.

import { rm, writeFile } from 'node:fs/promises';
import { run } from '../../../src/kernel/index.ts';

const RULES = '/etc/modprobe.d/headgate-test.conf';
const emptied = new Map<string, string>();

/** Takes a module out of the kernel, and an empty file into its file's place. */
export async function takeModule(name: string): Promise<void> {
  const path = (await run(['modinfo', '-n', name])).trim();
  await run(['modprobe', '-r', name]).catch(() => {});
  await writeFile('/tmp/empty.ko', '');
  await run(['mount', '--bind', '/tmp/empty.ko', path]);
  emptied.set(name, path);
}

/** Takes a module out of the kernel, and lets modprobe run something else in its place. */
export async function replaceModule(name: string, ...command: string[]): Promise<void> {
  await run(['modprobe', '-r', name]).catch(() => {});
  await writeFile(RULES, `install ${name} ${command.join(' ')}\n`);
}

/** What Headgate found that this kernel can do, without some module, is not for the files after this one. */
export const forgetFindings = (): Promise<void> => rm('/run/headgate/capabilities.json', { force: true });

/** Modprobe has every module again. */
export async function giveModulesBack(): Promise<void> {
  for (const path of emptied.values()) await run(['umount', path]);
  emptied.clear();
  await rm(RULES, { force: true });
}
