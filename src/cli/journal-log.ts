import pino from 'pino';
import { HeadgateError } from '../model/index.ts';
import { describeItem, type MonitorItem } from '../monitor/index.ts';

/** pino's levels as those of syslog(3), by which journald files a line that begins with `<N>` (sd-daemon(3)). */
const PRIORITIES: Readonly<Record<string, number>> = { info: 6, warn: 4, error: 3, fatal: 2 };

/** Writes each item, and what it fails of, as a line of JSON for journald: `journalctl -u headgate -o cat | jq`. */
export function createJournal(print: (line: string) => void) {
  const write = (line: string) => {
    const { level } = JSON.parse(line) as { level: string };
    print(`<${PRIORITIES[level]}>${line.trimEnd()}`);
  };
  // journald knows process, unit and time.
  const log = pino({ base: null, timestamp: false, formatters: { level: (level) => ({ level }) } }, { write });
  return {
    show: (item: MonitorItem): void => log[levelOf(item)](item, describeItem(item)),
    fail: (error: unknown): void => {
      if (error instanceof HeadgateError) {
        const { code, message, hint, fields, exit } = error;
        log.error({ kind: 'error', code, hint, ...fields }, message);
        process.exitCode = exit;
      } else {
        log.fatal({ kind: 'error', err: error }, 'internal error');
        process.exitCode = 70;
      }
    },
  };
}

/** What somebody should look at is a warning. */
function levelOf(item: MonitorItem): 'info' | 'warn' {
  switch (item.kind) {
    case 'warning':
    case 'overrun':
    case 'table':
      return 'warn';
    case 'link':
      return item.state === 'open' || item.state === 'absent' ? 'warn' : 'info';
    case 'policy':
      return item.state === 'kept' ? 'warn' : 'info';
    case 'confirm':
      return item.state === 'expired' ? 'warn' : 'info';
    default:
      return 'info';
  }
}
