import { spawn } from 'node:child_process';
import { once } from 'node:events';
import { closeSync, mkdtempSync, openSync, readFileSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join, resolve } from 'node:path';
import { createInterface } from 'node:readline';
import type { Bootable } from './kernels.ts';
import type { Report } from './report.ts';

const CLONE = resolve(import.meta.dirname, '../..');
/** A guest that takes longer than this hangs. */
const LONGEST_MS = 3_600_000;
const TAIL_LINES = 40;

export interface Boot {
  /** The last lines of the guest's console, and what qemu had to say. */
  readonly console: string;
  readonly timedOut: boolean;
}

/**
 * Boots a kernel in qemu with this machine's root below a tmpfs, runs vitest there with `args`, and returns when the
 * guest is off. It goes when this process goes. Emulated always: KVM is not to be had everywhere, and hangs in places.
 */
export async function boot(
  kernel: Bootable,
  args: readonly string[],
  onReport: (report: Report) => void,
): Promise<Boot> {
  const log = unlinkedFile();
  const settings = {
    HG_CLONE: CLONE,
    HG_NODE: process.execPath,
    HG_MODULES: kernel.modules,
    HG_ARGS: Buffer.from(args.map((arg) => `${arg}\0`).join('')).toString('base64'),
  };
  // no_timer_check: on a busy host the kernel would find that its timer does not work, and panic.
  const append = [
    'console=ttyS0',
    'panic=-1',
    'quiet',
    'no_timer_check',
    'mitigations=off',
    ...Object.entries(settings).map(([k, v]) => `"${k}=${v}"`),
  ];
  const argv = [
    ...['--pdeathsig', 'KILL', 'qemu-system-x86_64'],
    // What costs least to emulate. Of two processors the kernel trusts no TSC, and each look at the clock leaves the guest.
    ...['-accel', 'tcg,thread=single', '-smp', '1', '-m', '2G'],
    ...['-cpu', 'qemu64,+ssse3,+sse4.1,+sse4.2,+popcnt,+pclmulqdq,+rdrand'],
    ...['-nodefaults', '-display', 'none', '-no-reboot'],
    ...['-chardev', 'file,id=console,path=/dev/stderr,append=on', '-serial', 'chardev:console'],
    ...['-chardev', 'stdio,id=reports,signal=off', '-device', 'virtio-serial-pci'],
    ...['-device', 'virtserialport,chardev=reports'],
    ...['-virtfs', 'local,path=/,mount_tag=host,security_model=none,readonly=on,multidevs=remap'],
    ...['-kernel', kernel.image, '-initrd', kernel.initramfs, '-append', append.join(' ')],
  ];
  // A worker of vitest outlives a vitest that is killed; qemu must not.
  const orphaned = () => process.exit(1);
  process.once('disconnect', orphaned);
  // At the end of its standard input qemu closes the port, so that is held open.
  const qemu = spawn('setpriv', argv, { stdio: ['pipe', 'pipe', log] });
  let timedOut = false;
  const timer = setTimeout(() => {
    timedOut = true;
    qemu.kill('SIGKILL');
  }, LONGEST_MS);
  try {
    createInterface({ input: qemu.stdout! }).on('line', (line) => onReport(read(line)));
    await once(qemu, 'close');
    const lines = readFileSync(`/proc/self/fd/${log}`, 'utf8').trimEnd().split('\n');
    return { console: lines.slice(-TAIL_LINES).join('\n'), timedOut };
  } finally {
    clearTimeout(timer);
    process.off('disconnect', orphaned);
    qemu.kill('SIGKILL');
    closeSync(log);
  }
}

/** A guest that dies while it speaks leaves half a line. */
function read(line: string): Report {
  try {
    return JSON.parse(line) as Report;
  } catch {
    return { kind: 'broken', where: 'a report', failures: [{ message: `no report: ${line}`, stack: undefined }] };
  }
}

/** Opens a file that needs no clearing up. */
function unlinkedFile(): number {
  const folder = mkdtempSync(join(tmpdir(), 'hg-vm-'));
  try {
    return openSync(join(folder, 'console'), 'a+');
  } finally {
    rmSync(folder, { recursive: true });
  }
}
