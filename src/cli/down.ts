import type { Command } from 'commander';
import { acquireInstance, ensureRoot } from '../kernel/index.ts';
import { HeadgateError } from '../model/index.ts';
import { print, printJson } from './output.ts';

/** How long a running service has to take itself down. */
const PATIENCE_MS = 10_000;

export function addDownCommand(program: Command): void {
  program
    .command('down')
    .description(
      'stop the running headgate, and take down what a killed `up`, or `up --keep`, has left: filters first, then trees, then ifbs',
    )
    .option('--json', 'print one JSON object: {removed: [...]}')
    .addHelpText(
      'after',
      '\nExample:\n  sudo headgate down\n\nExit status: 0 nothing of ours is left, 4 a running headgate did not stop',
    )
    .action(async (options: { json?: boolean }) => {
      ensureRoot('removing qdiscs and devices');
      const { requestService, takeDown } = await import('../service/index.ts');
      const pid = (await requestService())?.pid;
      if (pid !== undefined) process.kill(pid, 'SIGTERM');
      const leave = await leaveOf(pid);
      const removed = await takeDown().finally(leave);
      if (pid !== undefined) removed.unshift(`stop headgate (pid ${pid})`);
      if (options.json) printJson({ removed });
      else print(removed.length === 0 ? 'nothing of headgate is here' : removed.join('\n'));
    });
}

/** Waits for the place of the service that was told to stop. @throws HeadgateError HG_RUNNING */
async function leaveOf(pid: number | undefined): Promise<() => void> {
  const end = Date.now() + PATIENCE_MS;
  for (;;) {
    const leave = await acquireInstance();
    if (leave) return leave;
    if (pid === undefined || Date.now() > end) throw new HeadgateError('HG_RUNNING', { pid: pid ?? 'unknown' });
    await new Promise((resolve) => setTimeout(resolve, 50));
  }
}
