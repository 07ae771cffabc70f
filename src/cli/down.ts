import type { Command } from 'commander';
import { acquireInstance, ensureRoot } from '../kernel/index.ts';
import { HeadgateError } from '../model/index.ts';
import { print, printJson } from './output.ts';

/** How long a running service has to take itself down, and one that was killed to be gone. */
const PATIENCE_MS = 10_000;

export function addDownCommand(program: Command): void {
  program
    .command('down')
    .description(
      'stop the running headgate, and take down what a killed `up`, or `up --keep`, has left: filters first, then trees, then ifbs',
    )
    .option('--left', 'take down only what nobody runs any more; a running headgate goes on, and the exit status is 4')
    .option('--json', 'print one JSON object: {removed: [...]}')
    .addHelpText(
      'after',
      `
Example:
  sudo headgate down

A headgate that hangs, and has not stopped after 10 s, is killed (kill -9), and everything taken down for it. One of
systemd's would then be started again: systemctl stop headgate.
Exit status: 0 nothing of ours is left, 4 a running headgate could not be stopped`,
    )
    .action(async (options: { json?: boolean; left?: boolean }) => {
      ensureRoot('removing qdiscs and devices');
      const { takeDown, guarded } = await import('../service/index.ts');
      const { leave, stopped } = options.left ? await leaveNow() : await stopAndLeave();
      const removed = [...stopped, ...(await guarded(takeDown).finally(leave))];
      if (options.json) printJson({ removed });
      else print(removed.length === 0 ? 'nothing of headgate is here' : removed.join('\n'));
    });
}

/** The place of the service, and what became of who had it. */
interface Place {
  readonly leave: () => Promise<void>;
  readonly stopped: readonly string[];
}

/** @throws HeadgateError HG_RUNNING */
async function leaveNow(): Promise<Place> {
  const leave = await acquireInstance('moment');
  if (leave) return { leave, stopped: [] };
  throw new HeadgateError('HG_RUNNING', { pid: (await getPid()) ?? 'unknown' });
}

/**
 * Has the service that has the place leave it: what is killed leaves a journal, by which all it has begun is taken down.
 *
 * @throws HeadgateError HG_RUNNING
 */
async function stopAndLeave(): Promise<Place> {
  const stopped: string[] = [];
  let pid: number | undefined;
  let end = performance.now() + PATIENCE_MS;
  for (;;) {
    const leave = await acquireInstance('moment');
    if (leave) return { leave, stopped };
    if (pid === undefined) {
      pid = await getPid();
      if (pid !== undefined) {
        signal(pid, 'SIGTERM');
        stopped.push(`stop headgate (pid ${pid})`);
        end = performance.now() + PATIENCE_MS;
      }
    }
    if (performance.now() > end) {
      if (pid === undefined || stopped.length > 1 || (await getPid()) !== pid)
        throw new HeadgateError('HG_RUNNING', { pid: pid ?? 'unknown' });
      signal(pid, 'SIGKILL');
      stopped.push(`kill headgate (pid ${pid}), which did not stop`);
      end = performance.now() + PATIENCE_MS;
    }
    await new Promise((resolve) => setTimeout(resolve, 100));
  }
}

const getPid = async (): Promise<number | undefined> => (await import('../service/index.ts')).getServicePid();

/** It may have ended by itself. */
function signal(pid: number, name: NodeJS.Signals): void {
  try {
    process.kill(pid, name);
  } catch (error) {
    if ((error as NodeJS.ErrnoException).code !== 'ESRCH') throw error;
  }
}
