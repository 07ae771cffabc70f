import { ERROR } from './layout.ts';
import { shim } from './library.ts';

/**
 * Removes what stands at a device's ingress hook in chain 0, protocol all, with this preference, as
 * `tc filter del dev D ingress protocol all pref N` does, without a process: in microseconds, also on a busy machine.
 * False: there is none, or it could not be removed.
 */
export const delIngressFilter = (ifindex: number, pref: number): boolean =>
  shim().hg_filter_del(null, ifindex, pref, Buffer.alloc(ERROR.size)) === 0;
