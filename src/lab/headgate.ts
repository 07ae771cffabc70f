import { WAN } from './lab.ts';
import type { Namespace } from './namespace.ts';
import { packageFile } from './place.ts';
import { Program } from './program.ts';

/**
 * Starts `headgate up` inside the box, as a person would; resolves when it steers.
 *
 * @param policy path in the package, such as `rules/favour-local.gate`
 * @param shapedMbit the rate that it is told, each way
 */
export async function startHeadgate(
  box: Namespace,
  policy: string,
  shapedMbit: number,
): Promise<{ program: Program; datapath: string }> {
  const rate = `${shapedMbit}mbit`;
  const argv = [process.execPath, packageFile('dist/cli/headgate.js'), 'up', packageFile(policy), '--json'];
  const options = ['--device', WAN, '--download', rate, '--upload', rate];
  const program = Program.start('headgate up', ['env', ...argv, ...options], { netns: box.name });
  try {
    const ready = JSON.parse(await program.line((line) => line.includes('"kind":"ready"'), 20_000));
    return { program, datapath: typeof ready.datapath === 'string' ? ready.datapath : 'bpf' };
  } catch (error) {
    await program.stop('SIGTERM');
    throw error;
  }
}
