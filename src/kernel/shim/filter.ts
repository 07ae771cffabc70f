import type { EntryFilter } from '../../shape/index.ts';
import { ERROR } from './layout.ts';
import { shim } from './library.ts';

/**
 * Removes a filter that stands at a device's ingress hook, as `tc filter del dev D ingress protocol all pref N handle H KIND` does,
 * without a process: in microseconds, also on a busy machine. False: there is none, or it could not be removed.
 */
export const delIngressFilter = (ifindex: number, { pref, kind, handle }: EntryFilter): boolean =>
  shim().hg_filter_del(null, ifindex, pref, kind, handle, Buffer.alloc(ERROR.size)) === 0;
