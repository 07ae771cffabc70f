import { type ChildProcessByStdio, spawn } from 'node:child_process';
import { readFile } from 'node:fs/promises';
import { connect, type Socket } from 'node:net';
import type { Readable, Writable } from 'node:stream';
import { HeadgateError } from '../model/index.ts';
import type { EntryFilter } from '../shape/index.ts';
import { GUARD } from './built.ts';
import { getSocketPeer } from './peer.ts';

/** Ms in which a guard has to be ready, and in which one that is told to end has to be gone, or is killed. */
const PATIENCE_MS = 5000;
/** Ms between two times that it is told the same; after 10 s without (SILENCE_MS of guard.c) it takes us to hang. */
const TELL_AGAIN_MS = 2000;

/** A device by its index, which stays; by its name where it may not be there yet. */
export type DeviceRef = number | string;

/** Where a redirect of ours can be taken away: a filter of tc's at the ingress hook, or a chain of our nft table of family netdev. */
type Redirection =
  | { readonly kind: 'filter'; readonly device: DeviceRef; readonly filter: EntryFilter }
  | { readonly kind: 'chain'; readonly chain: string };

/** A redirect, and the ifbs that it leads to. */
export type GuardedRedirect = Redirection & { readonly ifbs: readonly DeviceRef[] };

/**
 * A process of its own session (native-shim/programs/guard.c), which does nothing as long as we live and our event loop
 * turns. When we end, however that happens, and while we are silent for more than 10 s, it sees to it that none of the redirects
 * that it was told of leads to an ifb that goes down or away: it removes the redirect, so that packets pass unshaped. After
 * our end it ends when there are none left.
 */
export class Guard {
  readonly #child: ChildProcessByStdio<Writable, Readable, null>;
  /** Resolves when it is no more. */
  readonly ended: Promise<unknown>;
  readonly #telling: NodeJS.Timeout;
  #list = '';

  private constructor(child: ChildProcessByStdio<Writable, Readable, null>) {
    this.#child = child;
    this.ended = new Promise((resolve) => child.once('exit', resolve));
    child.once('exit', () => clearInterval(this.#telling));
    child.unref();
    (child.stdin as Socket).unref();
    // It may have been killed.
    child.stdin.on('error', () => {});
    // One that was stopped reads nothing: what it is told again must not pile up.
    this.#telling = setInterval(() => child.stdin.writableNeedDrain || child.stdin.write(this.#list), TELL_AGAIN_MS);
    this.#telling.unref();
  }

  /** Starts one; {@link listGuards} finds it from then on. @throws HeadgateError HG_KERNEL where it cannot begin */
  static async start(): Promise<Guard> {
    const child = spawn(GUARD, [], {
      argv0: 'headgate-guard',
      detached: true,
      cwd: '/',
      env: {},
      stdio: ['pipe', 'pipe', 'ignore'],
    });
    await new Promise<void>((resolve, reject) => {
      const fail = (problem: string, cause?: unknown) => {
        clearTimeout(timer);
        child.kill('SIGKILL');
        reject(new HeadgateError('HG_KERNEL', { command: GUARD, problem }, { cause }));
      };
      const timer = setTimeout(() => fail('it took too long'), PATIENCE_MS);
      child.once('error', (cause) => fail(cause.message, cause));
      child.once('exit', (status) => fail(`it ended with status ${status}`));
      child.stdout.once('data', () => {
        clearTimeout(timer);
        child.removeAllListeners('exit');
        child.stdout.destroy();
        resolve();
      });
    });
    return new Guard(child);
  }

  /** These are the redirects that there are, or are about to be, and no others. */
  tell(redirects: readonly GuardedRedirect[]): void {
    this.#list = formatGuarded(redirects);
    this.#child.stdin.write(this.#list);
  }

  /** From now on it guards what it was told last, until there is nothing left of that. */
  leave(): void {
    clearInterval(this.#telling);
    this.#child.stdin.end();
  }
}

/** As guard.c reads it. */
export const formatGuarded = (redirects: readonly GuardedRedirect[]): string =>
  [...redirects.map(formatRedirect), '', ''].join('\n');

function formatRedirect(redirect: GuardedRedirect): string {
  return [redirect.kind, ...formatPlace(redirect), ...redirect.ifbs.map(formatDevice)].join(' ');
}

function formatPlace(redirection: Redirection): string[] {
  if (redirection.kind === 'chain') return [redirection.chain];
  const { pref, kind, handle } = redirection.filter;
  return [formatDevice(redirection.device), `${pref}`, kind, `${handle}`];
}

/** No name has a colon in it (dev_valid_name() in net/core/dev.c). */
const formatDevice = (device: DeviceRef): string => (typeof device === 'number' ? `:${device}` : device);

/** Sockets of the guards of this network namespace, found also where the state folder is lost. */
export async function listGuards(): Promise<string[]> {
  const sockets = await readFile('/proc/self/net/unix', 'utf8');
  return [...new Set([...sockets.matchAll(/ @(headgate-guard-[0-9a-f]{92})$/gm)].map(([, name]) => name!))];
}

/**
 * Ends guards that nobody holds any more, so that none of them removes what is made from now on. To be called by who has the
 * place of the service.
 *
 * @param names as {@link listGuards} has them
 */
export async function endGuards(names: readonly string[]): Promise<void> {
  await Promise.all(names.map(endGuard));
}

/** Whoever is not root may have such a name, too, and is left alone. */
function endGuard(name: string, until = Date.now() + PATIENCE_MS): Promise<void> {
  return new Promise((resolve) => {
    const socket = connect({ path: `\0${name}` });
    let timer: NodeJS.Timeout | undefined;
    socket.once('connect', () => {
      const { uid, pid } = getSocketPeer(socket);
      if (uid !== 0) socket.destroy();
      // To connect is to tell it to end; one that was stopped does not hear.
      else timer = setTimeout(() => (pid > 0 ? kill(pid) : socket.destroy()), PATIENCE_MS);
    });
    // The end of a connection that nobody took is a reset; others may have filled the queue of those that wait.
    let full = false;
    socket.on('error', ({ code }: NodeJS.ErrnoException) => (full = code === 'EAGAIN'));
    socket.once('close', () => {
      clearTimeout(timer);
      if (full && Date.now() < until) setTimeout(() => resolve(endGuard(name, until)), 20);
      else resolve();
    });
    socket.resume();
  });
}

/** It may have ended meanwhile. */
function kill(pid: number): void {
  try {
    process.kill(pid, 'SIGKILL');
  } catch {}
}
