import { createHash, randomUUID } from 'node:crypto';
import { mkdir, readFile, rename, rm, writeFile } from 'node:fs/promises';
import { release } from 'node:os';
import { join } from 'node:path';
import { CAPABILITY_NAMES, type Capabilities, type Finding, isSettled } from '../model/index.ts';
import { CLASSIFIER_OBJECT } from './built.ts';
import { getFile, STATE_FOLDER } from './machine.ts';

export interface CapabilityOptions {
  /** Try everything again, whatever was found before. */
  readonly fresh?: boolean | undefined;
}

/**
 * What this kernel can do, as tried out by {@link probe}, or as it was found since the machine was booted: all network
 * namespaces share one answer. Where a hang or a missing right kept something from being told, the answer is not kept.
 *
 * @throws HeadgateError HG_NO_TOOL; HG_NO_SHIM where native-shim is not built
 */
export async function getCapabilities({ fresh = false }: CapabilityOptions = {}): Promise<Capabilities> {
  const key = await getKey();
  const kept = fresh ? undefined : await readKept(key);
  if (kept) return kept;
  const { probe } = await import('./probe.ts');
  const capabilities: Capabilities = { release: release(), time: Date.now(), findings: await probe() };
  if (CAPABILITY_NAMES.every((name) => isSettled(capabilities.findings, name))) await keep(key, capabilities);
  // What an earlier run kept is known to be doubtful now.
  else if (fresh) await rm(FILE, { force: true }).catch(() => {});
  return capabilities;
}

/** Below /run: gone after a boot. */
const FILE = join(STATE_FOLDER, 'capabilities.json');

/** Forgets what was found: the next who wants to know asks the kernel. */
export const delCapabilities = (): Promise<void> => rm(FILE, { force: true }).catch(() => {});

/** What an answer holds for: this boot, this kernel, this classifier and these questions. */
async function getKey(): Promise<string> {
  const boot = await readFile('/proc/sys/kernel/random/boot_id', 'utf8');
  const object = await getFile(CLASSIFIER_OBJECT);
  return createHash('sha256')
    .update(boot)
    .update(release())
    .update(CAPABILITY_NAMES.join())
    .update(object)
    .digest('hex');
}

/** Undefined where there is none that can be relied on: another boot's, cut short, changed by hand. */
async function readKept(key: string): Promise<Capabilities | undefined> {
  try {
    const kept = JSON.parse(await readFile(FILE, 'utf8')) as { key?: unknown } & Partial<Capabilities>;
    const { time, findings } = kept;
    if (kept.key !== key || kept.release !== release() || typeof time !== 'number') return undefined;
    if (!findings || !CAPABILITY_NAMES.every((name) => isFinding(findings[name]))) return undefined;
    return { release: kept.release, time, findings };
  } catch {
    return undefined;
  }
}

const isFinding = (value: Finding | undefined): boolean =>
  value?.answer === 'yes' || (value?.answer === 'no' && typeof value.why === 'string') || isBlamed(value);

const isBlamed = (value: Finding | undefined): boolean =>
  value?.answer === 'unknown' &&
  typeof value.why === 'string' &&
  Array.isArray(value.without) &&
  value.without.every((need) => CAPABILITY_NAMES.includes(need));

/** Whole or not at all. Where it cannot be written, the next one asks the kernel again. */
async function keep(key: string, capabilities: Capabilities): Promise<void> {
  const beside = `${FILE}.${randomUUID()}`;
  try {
    await mkdir(STATE_FOLDER, { recursive: true, mode: 0o755 });
    await writeFile(beside, JSON.stringify({ key, ...capabilities }), { mode: 0o644, flag: 'wx' });
    await rename(beside, FILE);
  } catch {
    await rm(beside, { force: true }).catch(() => {});
  }
}
