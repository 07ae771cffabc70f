import { fstatSync } from 'node:fs';
import { sendLocal } from './shim/index.ts';

/**
 * Tells the service manager, sd_notify(3): `{ READY: 1 }`. Nothing happens where none asked for it (NOTIFY_SOCKET), or
 * where it does not listen.
 */
export function notifyManager(fields: Readonly<Record<string, string | number>>): void {
  const socket = process.env.NOTIFY_SOCKET;
  if (!socket) return;
  const lines = Object.entries(fields).map(([name, value]) => `${name}=${String(value).replaceAll('\n', ' ')}`);
  sendLocal(socket, lines.join('\n'));
}

/** Ms after which the service manager ends a service that has not said that it lives (sd_watchdog_enabled(3)); undefined: it does not. */
export function getWatchdog(): number | undefined {
  const { NOTIFY_SOCKET: socket, WATCHDOG_USEC: time, WATCHDOG_PID: pid } = process.env;
  if (!socket || !time || (pid && Number(pid) !== process.pid)) return undefined;
  const ms = Number(time) / 1000;
  return ms > 0 ? ms : undefined;
}

/** µs of the clock that the service manager compares with (CLOCK_MONOTONIC). */
export const getMonotonicTime = (): string => String(process.hrtime.bigint() / 1000n);

/** The descriptor leads to the journal (JOURNAL_STREAM, systemd.exec(5)). */
export function isJournal(descriptor: number): boolean {
  const stream = process.env.JOURNAL_STREAM;
  if (!stream) return false;
  const { dev, ino } = fstatSync(descriptor);
  return stream === `${dev}:${ino}`;
}
