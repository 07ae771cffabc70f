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

/** What vitest is to run there. */
export interface Task {
  readonly args: readonly string[];
  /** Also what is another kernel's part (guest/turn.ts). */
  readonly every: boolean;
}

/**
 * Boots a kernel in qemu with this machine's root below a tmpfs, runs vitest there, and returns when the
 * guest is off. With each report comes how many seconds of this machine's processors that has taken so far. It goes when this process goes. Emulated always: KVM is not to be had everywhere, and hangs in places.
 */
export async function boot(
  kernel: Bootable,
  { args, every }: Task,
  onReport: (report: Report, seconds: number) => void,
): Promise<Boot> {
  const log = unlinkedFile();
  const settings = {
    HG_CLONE: CLONE,
    HG_NODE: process.execPath,
    HG_MODULES: kernel.modules,
    ...(every ? { HG_EVERY: '1' } : {}),
    HG_ARGS: Buffer.from(args.map((arg) => `${arg}\0`).join('')).toString('base64'),
  };
  // no_timer_check: on a busy host the kernel would find that its timer does not work, and panic.
  const append = [
    'console=ttyS0',
    'panic=-1',
    'quiet',
    'no_timer_check',
    'mitigations=off',
    // What is translated of a program is of use to the next one at the same addresses alone.
    'norandmaps',
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
    createInterface({ input: qemu.stdout! }).on('line', (line) => onReport(read(line), processorSeconds(qemu.pid!)));
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

/** What a process has used, as proc_pid_stat(5) tells in hundredths; 0 when it is gone. On a busy machine less than what has gone by. */
function processorSeconds(pid: number): number {
  try {
    const fields = readFileSync(`/proc/${pid}/stat`, 'utf8').split(') ').at(-1)!.split(' ');
    return (Number(fields[11]) + Number(fields[12])) / 100;
  } catch {
    return 0;
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
