import { deserialize, serialize } from 'node:v8';
import { listBuilt, type Places, type Scene } from '../apply/index.ts';
import { getRecord, type RecordKind, run, Scratch } from '../kernel/index.ts';
import type { Policy } from '../language/index.ts';
import type { Command } from '../model/index.ts';
import { type Datapath, type DatapathName, type LinkShape, planOperations, tapsOf } from '../shape/index.ts';

/** What is in force, as it is remembered on the disk: the kernel holds the objects, and not the policy that they came from. */
export interface Applied {
  readonly policy: Policy;
  readonly datapath: DatapathName;
  readonly generation: number;
}

/** Whoever changes what a policy turns into, or the policy's own shape, changes this: other records are as none. */
const FORMAT = 1;

export const writeApplied = ({ policy, datapath, generation }: Applied): string =>
  writeRecord({ policy, datapath, generation });

/** The record of this network namespace; undefined where there is none that can be read. */
export const readApplied = (): Promise<Applied | undefined> => readRecord<Applied>('applied');

/** What holds policies, as text. */
export const writeRecord = (content: object): string => serialize([FORMAT, content]).toString('base64');

/** What {@link writeRecord} has written; undefined where there is none that can be read. */
export async function readRecord<T>(kind: RecordKind): Promise<T | undefined> {
  const text = await getRecord(kind);
  if (text === undefined) return undefined;
  try {
    const [format, content] = deserialize(Buffer.from(text, 'base64')) as [number, T];
    return format === FORMAT ? content : undefined;
  } catch {
    return undefined;
  }
}

/** A policy with what it is to become here. */
export interface Wanted {
  readonly policy: Policy;
  readonly shapes: readonly LinkShape[];
  readonly datapath: Datapath;
}

/** Objects whose words differ between what is there and what is wanted; on either side they may be missing. */
export interface Difference {
  readonly object: string;
  readonly there: boolean;
  readonly wanted: boolean;
}

/** What the kernel holds of ours, and what `up` would make of a policy, in the kernel's words. */
export interface Comparison {
  readonly there: ReadonlyMap<string, string>;
  readonly made: ReadonlyMap<string, string>;
}

/**
 * What `up` would make of a policy, in the kernel's words. It is made, in a network namespace that lives no longer than
 * this, with devices of the same names: kernels write down many things otherwise than they are asked for, and this one
 * knows best how.
 *
 * @throws HeadgateError HG_KERNEL where it cannot be made
 */
export async function makeBeside(wanted: Wanted, scene: Scene): Promise<Comparison['made']> {
  const { policy, shapes, datapath } = wanted;
  const scratch = await Scratch.open();
  try {
    for (const { device } of shapes) await scratch.run(['ip', 'link', 'add', 'name', device, 'type', 'ifb']);
    const runThere = ({ argv, input }: Command) => scratch.run(argv, input);
    for (const { command } of planOperations(policy, shapes, datapath)) await runThere(command);
    return await listBuilt(placesOf(wanted, scene), (argv) => scratch.run(argv));
  } finally {
    await scratch.close();
  }
}

/** Both sides of a comparison. @throws HeadgateError as {@link makeBeside} does */
export const lookBeside = async (wanted: Wanted, scene: Scene): Promise<Comparison> => ({
  made: await makeBeside(wanted, scene),
  there: await listBuilt(placesOf(wanted, scene), (argv) => run(argv)),
});

/** Where something of ours is, or is wanted. */
function placesOf({ policy, shapes }: Wanted, scene: Scene): Places {
  const ours = [...scene.ifbs.map(({ device }) => device.name), ...scene.taps];
  const wanted = shapes.flatMap(({ ifbs }) => ifbs.map(({ name }) => name));
  return {
    devices: [...new Set([...shapes.map(({ device }) => device), ...scene.hooks.keys()])],
    ifbs: [...new Set([...wanted, ...tapsOf(policy), ...ours])],
  };
}

export const differencesOf = ({ there, made }: Comparison): Difference[] =>
  [...new Set([...there.keys(), ...made.keys()])]
    .filter((object) => there.get(object) !== made.get(object))
    .map((object) => ({ object, there: there.has(object), wanted: made.has(object) }));

/** Compares what the kernel holds of ours with what `up` would make of a policy. @throws HeadgateError as {@link makeBeside} does */
export const compareBuilt = async (wanted: Wanted, scene: Scene): Promise<Difference[]> =>
  differencesOf(await lookBeside(wanted, scene));
