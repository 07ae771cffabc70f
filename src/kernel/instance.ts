import { constants } from 'node:fs';
import { type FileHandle, open, readdir, readFile, readlink, rm, stat } from 'node:fs/promises';
import { connect, createServer, type Server } from 'node:net';
import { setTimeout as sleep } from 'node:timers/promises';
import { HeadgateError } from '../model/index.ts';
import { getSocketPath } from './local-socket.ts';
import { getStatePath, inStateFolder, STATE_FOLDER } from './machine.ts';
import { getSocketPeer } from './peer.ts';
import { hasRight } from './rights.ts';
import { type Peer, tryLock } from './shim/index.ts';
import { delToken } from './token.ts';

/**
 * `service`: for as long as it runs. `moment`: for one thing to be done, by a command; it is not to be stopped, and whoever wants the
 * place waits for it.
 */
type Stay = 'service' | 'moment';

/**
 * In the abstract namespace of unix(7), of which each network namespace has its own: they are seen from where another /run
 * is mounted, too, as from a container. Who has the place has the one of its kind, and no root has the other.
 */
const NAMES: Readonly<Record<Stay, string>> = { service: '\0headgate', moment: '\0headgate-moment' };

/** For how long one that has the place for a moment is waited for, and how often it is looked for. */
const PATIENCE_MS = 10_000;
const LOOK_MS = 50;

/**
 * Takes the place of the one service of this network namespace; call the result to leave it. Undefined: it is taken, by
 * a service of root, or by a moment that has lasted for 10 s. The place is free when that process ends, however that happens.
 *
 * @throws HeadgateError HG_NO_PLACE, HG_NO_SHIM
 */
export async function acquireInstance(stay: Stay): Promise<(() => Promise<void>) | undefined> {
  const end = performance.now() + PATIENCE_MS;
  for (;;) {
    const leave = await tryAcquire(stay);
    // Who is coming or going has no name yet, or none any more.
    if (leave || performance.now() > end || (await isServed())) return leave;
    await sleep(LOOK_MS);
  }
}

async function tryAcquire(stay: Stay): Promise<(() => Promise<void>) | undefined> {
  const path = await getStatePath('lock');
  const lock = await inStateFolder(() => openLocked(path));
  if (!lock) return undefined;
  const name = await takeName(NAMES[stay]).catch(async (error) => {
    await lock.close();
    throw error;
  });
  const other = NAMES[stay === 'service' ? 'moment' : 'service'];
  if (name === 'taken' || isRoot(await getHolder(other))) {
    if (name !== 'taken') name?.close();
    await lock.close();
    return undefined;
  }
  // A killed service's page had a key that opens nothing any more. Where it cannot be removed, that keeps nobody from the place.
  await delToken().catch(() => {});
  return async () => {
    name?.close();
    // The socket is one that a killed service has left. The lock is removed while it is held: whoever waits for it finds that
    // its file is no more, and makes a new one.
    for (const ours of [await getSocketPath(), path]) await rm(ours, { force: true });
    await lock.close();
  };
}

/** A service has the place: its name, or where a user has that, its control socket, says so. */
const isServed = async (): Promise<boolean> => isRoot(await getServer());

/** Its process, as either says. */
async function getServer(): Promise<Peer | undefined> {
  const named = await getHolder(NAMES.service);
  return isRoot(named) ? named : getHolder(await getSocketPath());
}

/**
 * Process of the service that has the place, also of one that hangs. Undefined: none has, or who cannot be told, since it is not
 * seen from our process namespace.
 */
export async function getInstancePid(): Promise<number | undefined> {
  const holder = await getServer();
  return isRoot(holder) && holder!.pid > 0 ? holder!.pid : undefined;
}

/**
 * Removes what services of network namespaces that are no more have left in {@link STATE_FOLDER}: another namespace may
 * get the same number. Without CAP_SYS_PTRACE, by which one sees what namespaces live, nothing. Never rejects.
 */
export async function delLeftovers(): Promise<void> {
  const names = await readdir(STATE_FOLDER).catch(() => []);
  if (!hasRight('SYS_PTRACE')) return;
  const living = await listNamespaces();
  const ids = new Set(names.flatMap((name) => /^(\d+)\./.exec(name)?.[1] ?? []));
  for (const id of ids) {
    if (living.has(id)) continue;
    const lock = await openLocked(await getStatePath('lock', id)).catch(() => undefined);
    if (!lock) continue;
    for (const name of [...names.filter((one) => one.startsWith(`${id}.`)), `${id}.lock`])
      await rm(`${STATE_FOLDER}/${name}`, { recursive: true, force: true }).catch(() => {});
    await lock.close();
  }
}

/** Opens a file that root alone may open, makes it where it is not there, and locks it; undefined where another has. */
async function openLocked(path: string): Promise<FileHandle | undefined> {
  for (;;) {
    const file = await open(path, constants.O_RDWR | constants.O_CREAT | constants.O_NOFOLLOW, 0o600);
    try {
      if (!tryLock(file.fd)) {
        await file.close();
        return undefined;
      }
      // Its last holder may have removed it between our open and our lock.
      const there = await stat(path).catch(() => undefined);
      if (there?.ino === (await file.stat()).ino) return file;
    } catch (error) {
      await file.close();
      throw error;
    }
    await file.close();
  }
}

/** Undefined: a user who is not root has taken the name. That is rude, and no reason not to start. */
async function takeName(path: string): Promise<Server | 'taken' | undefined> {
  const server = createServer((socket) => socket.destroy());
  const bound = await new Promise<boolean>((resolve, reject) => {
    server.once('error', (cause: NodeJS.ErrnoException) => {
      if (cause.code === 'EADDRINUSE') resolve(false);
      else
        reject(
          new HeadgateError(
            'HG_KERNEL',
            { command: `listening on ${path.replace('\0', '@')}`, problem: cause.message },
            { cause },
          ),
        );
    });
    server.listen({ path }, () => resolve(true));
    server.unref();
  });
  if (bound) return server;
  return isRoot(await getHolder(path)) ? 'taken' : undefined;
}

/** The process that listens there, also one that hangs: the kernel connects, and knows who began to listen (unix(7), SO_PEERCRED). */
function getHolder(path: string): Promise<Peer | undefined> {
  return new Promise((resolve) => {
    const socket = connect({ path });
    socket.once('error', () => resolve(undefined));
    socket.once('connect', () => {
      resolve(getSocketPeer(socket));
      socket.destroy();
    });
  });
}

const isRoot = (holder: Peer | undefined): boolean => holder?.uid === 0;

/** Of every process, and of every mount (ip netns), that we see. */
async function listNamespaces(): Promise<ReadonlySet<string>> {
  const found = new Set<string>();
  for (const pid of await readdir('/proc')) {
    if (!/^\d+$/.test(pid)) continue;
    // It may have ended, or be none of ours, as the first process of a container.
    found.add(idOf(await readlink(`/proc/${pid}/ns/net`).catch(() => '')));
  }
  for (const [id] of (await readFile('/proc/self/mountinfo', 'utf8')).matchAll(/net:\[\d+\]/g)) found.add(idOf(id));
  return found;
}

const idOf = (link: string): string => /\d+/.exec(link)?.[0] ?? '';
