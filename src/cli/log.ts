import { isJournal } from '../kernel/index.ts';
import { formatItem, type MonitorItem } from '../monitor/index.ts';
import { print, printJson } from './output.ts';

/** Where `up` says what happens. */
export interface Log {
  readonly show: (item: MonitorItem) => void;
  /** Says why the command fails, and sets the exit status, or leaves both to whoever called the command. */
  readonly fail: (error: unknown) => void;
}

/** JSON where asked for, else lines for whoever reads: the journal, or a person. */
export async function openLog(json: boolean): Promise<Log> {
  const fail = (error: unknown) => {
    throw error;
  };
  if (json) return { show: printJson, fail };
  if (!isJournal(1)) return { show: (item) => print(formatItem(item)), fail };
  // pino is loaded for the journal alone.
  const { createJournal } = await import('./journal-log.ts');
  return createJournal(print);
}
