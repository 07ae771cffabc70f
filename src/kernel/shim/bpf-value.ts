import { constants } from 'node:os';
import { kernelError } from './error.ts';
import { shim } from './library.ts';

/**
 * The one value of the array map `map` that BPF program `progId` uses; undefined where there is no such program, or it
 * uses no such map. Needs CAP_SYS_ADMIN, as whatever asks for programs by their ids.
 *
 * @throws HeadgateError HG_NO_SHIM, HG_NOT_ROOT, HG_KERNEL
 */
export function getBpfValue(progId: number, map: string): bigint | undefined {
  const value = new BigUint64Array(1);
  return isThere('reading a BPF map', shim().hg_bpf_get(progId, map, value)) ? value[0]! : undefined;
}

/** Writes that value, between two packets. False where there is no such program or map. @throws HeadgateError as {@link getBpfValue} */
export const setBpfValue = (progId: number, map: string, value: bigint): boolean =>
  isThere('writing a BPF map', shim().hg_bpf_set(progId, map, value));

function isThere(doing: string, status: number): boolean {
  if (status < 0 && status !== -constants.errno.ENOENT) throw kernelError(doing, -status, 'bpf');
  return status === 0;
}
