import { setTimeout as sleep } from 'node:timers/promises';
import { getTcStats, listDevices } from '../kernel/index.ts';
import type { Draining } from '../shape/index.ts';

/** Longest wait until what nothing is sent to any more has run empty, ms: at 1 mbit a queue of 140 KB is empty after 1.1 s. */
export const MOST_DRAIN_MS = 5000;
const LOOK_MS = 20;

/**
 * Waits until a device, or classes on it, hold no packet: twice in a row, since a processor that still reads the filters
 * of before may send one there. True: it is empty, or gone; false: the time is over, or `hurry` says not to wait.
 */
export async function drain(draining: Draining, hurry: AbortSignal): Promise<boolean> {
  const end = performance.now() + MOST_DRAIN_MS;
  for (let empty = 0; ; ) {
    empty = (await isEmpty(draining)) ? empty + 1 : 0;
    if (empty === 2) return true;
    if (hurry.aborted || performance.now() > end) return false;
    await sleep(LOOK_MS, undefined, { signal: hurry }).catch(() => {});
  }
}

async function isEmpty({ device, classes }: Draining): Promise<boolean> {
  const there = (await listDevices()).find(({ name }) => name === device);
  if (!there) return true;
  const stats = getTcStats(undefined, there.index);
  if (classes) return stats.every(({ handle, isClass, qlen }) => !isClass || !classes.includes(handle) || qlen === 0);
  const { rx, tx } = there;
  // An ifb has a queue of its own behind its tree (drivers/net/ifb.c).
  return stats.every(({ qlen }) => qlen === 0) && rx.packets - rx.dropped <= tx.packets + tx.dropped;
}
