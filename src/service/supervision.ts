import { getMonotonicTime, getWatchdog, notifyManager } from '../kernel/index.ts';
import type { MonitorItem } from '../monitor/index.ts';
import type { Service } from './service.ts';

/** Tells the service manager what an item of the event stream means to it: sd_notify(3). */
export function tellManager(item: MonitorItem): void {
  if (item.kind === 'ready')
    notifyManager({ READY: 1, STATUS: item.links.map(({ name, device }) => `${name} on ${device}`).join(', ') });
  else if (item.kind === 'policy' && item.state === 'reading')
    notifyManager({ RELOADING: 1, MONOTONIC_USEC: getMonotonicTime() });
  else if (item.kind === 'policy') notifyManager({ READY: 1, STATUS: `${item.file} ${item.reason}` });
  else if (item.kind === 'link')
    notifyManager({ STATUS: `${item.name} on ${item.device}: ${item.state}, ${item.reason}` });
}

/** The service is on its way down. */
export const tellStopping = (): void => notifyManager({ STOPPING: 1 });

/**
 * Tells a service manager that wants to know (WatchdogSec=) that the service lives, as long as it does: twice in its
 * time, after every part has had its turn. Call the result to stop that.
 */
export function feedWatchdog({ isAlive }: Pick<Service, 'isAlive'>): () => void {
  const time = getWatchdog();
  if (time === undefined) return () => {};
  let [asking, stopped] = [false, false];
  const timer = setInterval(async () => {
    if (asking) return;
    asking = true;
    // It may have been stopped while every part had its turn.
    if ((await isAlive()) && !stopped) notifyManager({ WATCHDOG: 1 });
    asking = false;
  }, time / 2);
  return () => {
    stopped = true;
    clearInterval(timer);
  };
}
