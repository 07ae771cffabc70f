import { execFileSync } from 'node:child_process';
import { packageFile } from '../../src/lab/index.ts';

let made = false;

/** Path of a program that native-shim makes for tests, which are made when the first is asked for. */
export function tool(name: string): string {
  if (!made) execFileSync('make', ['-s', '-C', packageFile('native-shim'), 'tools']);
  made = true;
  return packageFile(`native-shim/build/${name}`);
}
